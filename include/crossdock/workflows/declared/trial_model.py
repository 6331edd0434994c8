"""What a test run of a workflow found: each step with its tries, its expressions and its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from crossdock.workflows.declared.answers import Answer


class StepState(StrEnum):
    SUCCESS = "SUCCESS"
    #: Its handler ran, or the workflow was undone.
    FAILED = "FAILED"
    #: Its retries are used up, and it is not undone: a person has to decide.
    PERMANENTLY_FAILED = "PERMANENTLY_FAILED"
    SKIPPED = "SKIPPED"
    COMPENSATED = "COMPENSATED"


class TrialState(StrEnum):
    COMPLETED = "COMPLETED"
    #: It came to a `cancel`.
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Evaluated:
    """An expression and its value."""

    at: str
    expression: str
    value: Any


@dataclass(frozen=True)
class Tried:
    """One try of a step."""

    at_s: float
    #: What the connector is given; None for a step that calls nothing.
    request: Mapping[str, Any] | None
    answer: Answer


@dataclass(frozen=True)
class TrialStep:
    """What one step did. A step of a loop has one for each item, an undo its own."""

    step: str
    state: StepState
    began_at_s: float
    ended_at_s: float
    input: Any = None
    output: Any = None
    message: str | None = None
    is_undo: bool = False
    tries: tuple[Tried, ...] = ()
    expressions: tuple[Evaluated, ...] = ()

    @property
    def retries(self) -> int:
        return max(len(self.tries) - 1, 0)


@dataclass(frozen=True)
class Trial:
    """A test run from its params to its end."""

    state: TrialState
    message: str | None
    params: Mapping[str, Any]
    #: In the order in which they ended.
    steps: tuple[TrialStep, ...]
    #: How long it would have taken.
    lasted_s: float
