"""The terms of a declared workflow: its triggers and its steps, each with its place in the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from crossdock.integrations.actions.model import Document

#: The version of the form that this hub reads.
SCHEMA = "crossdock.workflow/1"
#: `then: end` skips the rest of the list.
END = "end"
#: What one workflow may have.
MOST_STEPS = 200


class Rule(StrEnum):
    """What a definition must not break. A finding names one of them."""

    SYNTAX = "syntax"
    FORM = "form"
    SCHEMA_VERSION = "schema_version"
    TOO_LARGE = "too_large"
    DUPLICATE_ID = "duplicate_id"
    CYCLE = "cycle"
    UNKNOWN_STEP = "unknown_step"
    UNREACHABLE_STEP = "unreachable_step"
    UNKNOWN_INTEGRATION = "unknown_integration"
    UNTESTED_INTEGRATION = "untested_integration"
    UNKNOWN_ACTION = "unknown_action"
    MISSING_ARGUMENT = "missing_argument"
    EXTRA_ARGUMENT = "extra_argument"
    ARGUMENT_TYPE = "argument_type"
    MAPPING_FIELD = "mapping_field"
    MAPPING_TYPE = "mapping_type"
    EXPRESSION = "expression"
    NOT_BOOLEAN = "not_boolean"
    UNDECLARED_PARAM = "undeclared_param"
    PARAM_DEFAULT = "param_default"
    PARAM_SCHEMA = "param_schema"
    DUPLICATE_WEBHOOK = "duplicate_webhook"
    CRON = "cron"
    UNKNOWN_EVENT = "unknown_event"
    FILTER_FIELD = "filter_field"
    UNDO_AFTER_PIVOT = "undo_after_pivot"
    TWO_PIVOTS = "two_pivots"
    PIVOT_PLACE = "pivot_place"
    CANCEL_AFTER_PIVOT = "cancel_after_pivot"
    UNDO_OF_ANOTHER = "undo_of_another"
    WRITE_WITHOUT_KEY = "write_without_key"
    RETRY_ON_DECLINE = "retry_on_decline"
    TIMEOUT_ZERO = "timeout_zero"
    ENDLESS_WAIT = "endless_wait"
    LOOP_WITHOUT_BOUND = "loop_without_bound"
    EMPTY_JOIN = "empty_join"
    UNKNOWN_HANDLER = "unknown_handler"
    HANDLER_CALLS_ITSELF = "handler_calls_itself"
    SECRET = "secret"  # noqa: S105  the name of a rule


class Caution(StrEnum):
    """What a definition may have, and probably does not mean. A warning names one of them."""

    MAY_BE_NULL = "may_be_null"
    NOT_UNDONE = "not_undone"


@dataclass(frozen=True)
class Finding:
    """One mistake of a definition, or a warning, with its line and its JSON pointer."""

    rule: Rule | Caution
    line: int
    pointer: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.pointer or '/'}: {self.message} [{self.rule}]"


@dataclass(frozen=True)
class Retry:
    limit: int = 5
    delay_s: float = 1.0
    exponential: bool = True
    errors: tuple[str, ...] = ("failed", "timeout", "unknown")


@dataclass(frozen=True)
class Called:
    """An action of an integration, with the mappings of its input."""

    integration: str
    action: str
    given: Document
    at: str


@dataclass(frozen=True)
class Call:
    called: Called
    key: str | None = None
    undo: Called | None = None
    pivot: bool = False
    retry: Retry = Retry()


@dataclass(frozen=True)
class Block:
    """Steps one after the other. *at* is the pointer of the list."""

    at: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Case:
    #: None for one that is always true.
    when: str | None
    block: Block
    at: str


@dataclass(frozen=True)
class Switch:
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Fork:
    branches: Mapping[str, Block]
    #: None for all.
    join: tuple[str, ...] | None


@dataclass(frozen=True)
class Loop:
    each: str
    items: str
    at_most: int | None
    block: Block


@dataclass(frozen=True)
class Assign:
    values: Document


@dataclass(frozen=True)
class Raise:
    message: str


@dataclass(frozen=True)
class Cancel:
    """An expected end: what was done is undone, and nobody has to fix anything."""

    message: str


@dataclass(frozen=True)
class Wait:
    seconds: float


@dataclass(frozen=True)
class Listen:
    event: str
    where: str | None


@dataclass(frozen=True)
class Decide:
    question: str
    options: tuple[str, ...]
    default: str | None
    #: Name → mapping: what is shown with the question.
    shows: Document = field(default_factory=dict)


@dataclass(frozen=True)
class Unreadable:
    """What the form refuses: nothing more is said of it."""


Does = Call | Switch | Fork | Loop | Assign | Raise | Cancel | Wait | Listen | Decide | Unreadable


@dataclass(frozen=True)
class Catch:
    handler: str
    #: None for all.
    errors: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Step:
    id: str
    at: str
    does: Does
    condition: str | None = None
    timeout_s: float | None = None
    catch: Catch | None = None
    then: str | None = None

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The lists of steps inside this one."""
        match self.does:
            case Switch(cases):
                return tuple(case.block for case in cases)
            case Fork(branches):
                return tuple(branches.values())
            case Loop(block=block):
                return (block,)
        return ()


@dataclass(frozen=True)
class Trigger:
    at: str
    given: Document
    cron: str | None = None
    timezone: str | None = None
    event: str | None = None
    where: str | None = None
    webhook: str | None = None


@dataclass(frozen=True)
class Workflow:
    id: str
    version: int
    title: str
    description: str
    block: Block
    integrations: Mapping[str, str] = field(default_factory=dict)
    #: Name → JSON Schema.
    params: Mapping[str, Any] = field(default_factory=dict)
    triggers: tuple[Trigger, ...] = ()
    handlers: Mapping[str, Block] = field(default_factory=dict)
    timeout_s: float | None = None

    def steps(self) -> Iterator[Step]:
        """Yield every step in the order of the file, those of the handlers last."""
        for block in (self.block, *self.handlers.values()):
            yield from steps_in(block)


def steps_in(block: Block) -> Iterator[Step]:
    """Yield the steps of *block* with all inside them."""
    for step in block.steps:
        yield step
        for inner in step.blocks:
            yield from steps_in(inner)
