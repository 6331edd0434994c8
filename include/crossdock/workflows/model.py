"""The terms of the step engine: a flow and its steps, an execution of it, and how far each step is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple, Protocol

import msgspec

from crossdock.core.errors import Conflict, Terminal
from crossdock.db.database import Work
from crossdock.integrations.actions.model import Document, Ended


class StepKind(StrEnum):
    """What may follow when the step, or a later one, does not succeed."""

    #: It can be undone, and is undone.
    COMPENSATABLE = "compensatable"
    #: The point of no return: once it is done, the flow goes on to its end.
    PIVOT = "pivot"
    #: Comes after the pivot: it is repeated until it succeeds, or until a person decides.
    RETRIABLE = "retriable"


class Direction(StrEnum):
    ACT = "act"
    UNDO = "undo"


class StepState(StrEnum):
    """How far a step, or its undo, is."""

    #: Committed before its call. The call may be running, or the process that made it was killed.
    OPEN = "open"
    DONE = "done"
    #: Of an undo: what it would have undone never happened, or there is nothing to undo.
    NOTHING = "nothing"
    #: It was decided against; the same request would be refused again.
    REFUSED = "refused"
    #: It certainly had no effect.
    FAILED = "failed"
    #: It may have had its effect. It is resolved before anything else, never by time.
    UNKNOWN = "unknown"
    #: The other system has answered, and the decision is not there yet: its own, or its customer's.
    WAITING = "waiting"


class StepError(StrEnum):
    """Why a try of a step did not succeed."""

    #: It certainly had no effect.
    FAILED = "failed"
    #: What it waited for did not come in time.
    TIMEOUT = "timeout"
    #: Nobody knows whether it had its effect.
    UNKNOWN = "unknown"
    #: The same input would be refused again.
    REFUSED = "refused"
    #: The other system decided against it, from what it knows.
    DECLINED = "declined"


#: What may have had its effect, or may have it yet.
UNRESOLVED = frozenset({StepState.OPEN, StepState.UNKNOWN, StepState.WAITING})
#: Ends after which the same effect is tried again at its time.
TRIED_AGAIN = frozenset({StepState.FAILED, StepState.UNKNOWN, StepState.WAITING})
#: Of an undo that need not be made any more.
UNDONE = frozenset({StepState.DONE, StepState.NOTHING})


class ExecutionState(StrEnum):
    RUNNING = "running"
    #: Its steps are being undone, the last one first.
    UNDOING = "undoing"
    COMPLETED = "completed"
    UNDONE = "undone"


#: States in which nothing more happens by itself.
ENDED = frozenset({ExecutionState.COMPLETED, ExecutionState.UNDONE})


#: In `Execution.cancelled_by`, where no person had it undone but a step of the flow, as its declaration foresees.
CANCELLED_BY_FLOW = "the workflow"


class Driver(StrEnum):
    """The one way in which an execution is driven."""

    EVENTS = "events"
    DAG = "dag"


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One try of a step that has ended."""

    number: int
    began_at: datetime
    ended_at: datetime
    state: StepState
    message: str | None = None


class StepProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a step, or its undo, is."""

    step: str
    direction: Direction
    state: StepState
    #: Names the effect: every repetition is the same one.
    key: str
    #: How often it was tried; the end of a try is written by the last one alone.
    tries: int
    #: Of these, since a person said to go on.
    tries_left_from: int = 0
    output: Document | None = None
    message: str | None = None
    #: Why the last try did not succeed; None if it did, if it has not ended, or if a person has said how it ended.
    error: StepError | None = None
    #: When it may be tried again: after a failure its wait, and of an open one when its call must be over.
    next_at: datetime | None = None
    began_at: datetime
    ended_at: datetime | None = None
    log: tuple[Tried, ...] = ()

    @property
    def tried(self) -> int:
        """How many tries count against the limit."""
        return self.tries - self.tries_left_from


class StepEnd(NamedTuple):
    """How a try of a step ended."""

    state: StepState
    #: What the step put out.
    output: Document | None = None
    #: Why it did not succeed.
    message: str | None = None
    #: After how many seconds it may be tried again; None if it need not be.
    wait_s: float | None = None
    error: StepError | None = None
    #: False if nothing was called: the limit of tries is as far as before.
    counts: bool = True


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a flow, for one subject."""

    execution_id: str
    flow: str
    #: What it is about: the ID of an order. One flow has one execution for it.
    subject: str
    driver: Driver
    state: ExecutionState
    input: Document
    #: Who had it undone, although no step failed. Why, in their own words, is in the audit trail alone.
    cancelled_by: str | None
    #: Why it is being undone, or was.
    reason: str | None
    #: The step that a person has to decide about; None if nobody has to.
    waits_for: str | None
    #: Before the pivot, it is undone when this has passed.
    deadline_at: datetime | None
    #: When there is something to do; None if nothing will happen by itself.
    next_at: datetime | None
    created_at: datetime
    created_by: str
    ended_at: datetime | None
    #: The database's clock when it was read, by which all its times are set.
    read_at: datetime


@dataclass(frozen=True)
class StepCall:
    """What a step is given."""

    execution_id: str
    subject: str
    step: str
    direction: Direction
    #: Names the effect, in 64 characters: the same for each repetition.
    key: str
    #: The input of the execution.
    given: Document
    #: What the steps before it put out, by their names.
    outputs: Mapping[str, Document]
    actor: str
    #: When the step began, with its first try.
    began_at: datetime
    #: The database's clock.
    now: datetime
    #: Shared by the steps that one process makes in a row, for what they read that never changes.
    memo: Memo
    #: Raises StepReplaced if another process has taken the step over: call it in the transaction before something is sent.
    refuse_replaced: Callable[[Work], None]


class Waiting(msgspec.Struct, frozen=True):
    """The other system works, and waits for somebody's word: it may have its effect yet. It is tried again at its time."""

    message: str
    #: Try it again after just so many seconds; None for the waits of its step.
    again_in_s: float | None = None


class Postponed(msgspec.Struct, frozen=True):
    """Nothing was called, since the other system has been failing: that is no try of the step. It is made at its time."""

    message: str
    #: After so many seconds; None for the waits of its step.
    again_in_s: float | None = None


class TimedOut(msgspec.Struct, frozen=True):
    """What the step waited for did not come in time. It had no effect."""

    message: str


#: How a try of a step ends.
TryEnd = Ended | Waiting | Postponed | TimedOut


@dataclass(frozen=True)
class InHub:
    """An effect in the hub's database, in the transaction that records its end: it is done once or not at all."""

    #: Raises nothing that an end says: Done, Refused, Failed.
    run: Callable[[Work, StepCall], TryEnd]


@dataclass(frozen=True)
class Outside:
    """An effect elsewhere. It is idempotent by its key, and no transaction is open during it."""

    run: Callable[[StepCall], TryEnd]
    #: Longer than any call takes, with its own retries: afterwards, a try without an end was killed.
    timeout_s: float = 120.0


Effect = InHub | Outside


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often a step is tried, and the waits in between."""

    attempts: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 300.0
    #: Whether each wait is twice the one before.
    doubles: bool = True
    #: After which errors it is tried again.
    errors: frozenset[StepError] = frozenset({StepError.FAILED, StepError.TIMEOUT, StepError.UNKNOWN})

    def wait_s(self, tried: int, asked_s: float | None = None) -> float:
        """Compute the wait after the try number *tried*, from 1; at least what the other side *asked* for, up to the longest."""
        factor = 2.0 ** min(tried - 1, 30) if self.doubles else 1.0
        return min(max(self.first_wait_s * factor, asked_s or 0.0), self.longest_wait_s)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a flow, with its undo beside it."""

    name: str
    kind: StepKind = StepKind.COMPENSATABLE
    act: Effect
    #: None for a step that leaves nothing to undo.
    undo: Effect | None = None
    #: The undo itself finds out what became of an act, whatever its outcome. Without it, an act whose outcome is unknown is
    #: resolved first, by the same act with the same key, and one that was refused or failed is not undone.
    undo_resolves: bool = False
    #: It is undone also where it was never tried: what it stands for was there before the flow began.
    undo_always: bool = False
    retry: Retry = Retry()
    #: None for the same as of the step.
    undo_retry: Retry | None = None

    def retry_of(self, direction: Direction) -> Retry:
        """Find the rules for the tries of the step, or of its undo."""
        return self.undo_retry or self.retry if direction is Direction.UNDO else self.retry


@dataclass(frozen=True)
class Route:
    """The way of one execution through its flow, as far as it is known."""

    #: The steps in their order: what is undone, the last one first.
    steps: tuple[Step, ...]
    #: Those that come next: several where they do not wait for each other, none at the end.
    next: tuple[Step, ...]
    #: Why the flow itself has the execution cancelled; None if it does not.
    cancelled: str | None = None


class Flow(Protocol):
    """What an execution goes through. A name is never given to other steps: it goes on with those that it began with."""

    @property
    def name(self) -> str: ...

    @property
    def timeout(self) -> timedelta | None:
        """Give the time that it may take up to its pivot; None if there is no limit."""

    @property
    def on_change(self) -> Callable[[Work, Execution, Change], None]:
        """Give what runs in the transaction that records a change, for what belongs to it: events, the subject's own state."""

    def route(self, execution: Execution, progress: Progress, memo: Memo | None = None) -> Route:
        """
        Find the way. A pure function: with the same progress, the same steps.

        In *memo* it may keep what need not be found twice while one caller moves the execution. A caller whose transaction was
        rolled back begins with another one.
        """

    def about(self, execution: Execution) -> str:
        """Name the execution as the commands that a person has for it do."""


@dataclass(frozen=True, kw_only=True)
class FixedFlow:
    """Steps that are known before, one after the other."""

    name: str
    steps: tuple[Step, ...]
    timeout: timedelta | None = timedelta(minutes=15)
    on_change: Callable[[Work, Execution, Change], None]

    def __post_init__(self) -> None:
        """
        Refuse steps that could not be undone, or would be undone after the point of no return.

        Raises:
            FlowInvalid: the steps contradict each other.

        """
        names = [step.name for step in self.steps]
        if len(set(names)) < len(names):
            raise FlowInvalid(f"{self.name}: two steps have one name: {', '.join(names)}")
        kinds = [step.kind for step in self.steps]
        pivots = [position for position, kind in enumerate(kinds) if kind is StepKind.PIVOT]
        if len(pivots) > 1:
            raise FlowInvalid(f"{self.name}: it has several pivots; a flow has one point of no return at most")
        past = pivots[0] if pivots else len(kinds)
        for position, step in enumerate(self.steps):
            if (step.kind is StepKind.RETRIABLE) != (position > past):
                raise FlowInvalid(
                    f"{self.name}: {step.name} is {step.kind}; steps before the pivot are compensatable, steps after it retriable"
                )

    def route(self, _execution: Execution, progress: Progress, _memo: Memo | None = None) -> Route:
        """Go on with the first step that is not done."""
        left = (step for step in self.steps if not is_done(progress, step))
        return Route(self.steps, tuple(islice(left, 1)))

    def about(self, execution: Execution) -> str:
        """Name it by its subject, such as the order."""
        return execution.subject


@dataclass(frozen=True)
class StepEnded:
    """A try of a step, or of its undo, has ended."""

    step: str
    direction: Direction
    state: StepState
    output: Document | None
    message: str | None


@dataclass(frozen=True)
class TurnedBack:
    """The execution is undone from now on."""

    reason: str


@dataclass(frozen=True)
class Finished:
    """The execution has ended."""

    state: ExecutionState


@dataclass(frozen=True)
class NeedsPerson:
    """Nothing more happens by itself: a person has to decide about a step."""

    step: str
    direction: Direction
    question: str
    #: Why it did not succeed; None for one that only waits.
    error: StepError | None = None


Change = StepEnded | TurnedBack | Finished | NeedsPerson


class FlowInvalid(Terminal):
    """A flow contradicts itself; a defect of whoever declares it."""


class StepReplaced(Conflict):
    """Another process tried the step since, or undoes it: nothing may be sent for this try."""

    def __init__(self, step: str) -> None:
        super().__init__(f"The step {step} was taken over by another process while this one slept. Nothing was sent")


def key_of(execution_id: str, step: str, direction: Direction) -> str:
    """Name the effect of a step in 64 characters."""
    return hashlib.sha256(f"{execution_id}\n{step}\n{direction}".encode()).hexdigest()


Progress = Mapping[tuple[str, Direction], StepProgress]
#: Name → what one caller has found out while it moves an execution on.
Memo = dict[str, Any]


def next_try(before: StepProgress | None, step: str, direction: Direction, key: str, now: datetime) -> StepProgress:
    """Build the next try of a step after the last one, or its first."""
    if before is None:
        return StepProgress(step=step, direction=direction, state=StepState.OPEN, key=key, tries=1, began_at=now)
    return msgspec.structs.replace(before, state=StepState.OPEN, tries=before.tries + 1)


def progress_of(rows: Iterable[StepProgress]) -> dict[tuple[str, Direction], StepProgress]:
    """Map each step and direction to how far it is."""
    return {(row.step, row.direction): row for row in rows}


def is_done(progress: Progress, step: Step) -> bool:
    """Whether a step is behind the execution."""
    known = progress.get((step.name, Direction.ACT))
    return known is not None and known.state is StepState.DONE


def outputs_of(progress: Progress) -> dict[str, Any]:
    """Collect what the steps that are done put out, by their names."""
    return {
        name: row.output
        for (name, direction), row in progress.items()
        if direction is Direction.ACT and row.state is StepState.DONE and row.output is not None
    }
