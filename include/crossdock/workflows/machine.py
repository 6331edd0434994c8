"""What an execution does next: a pure function of its flow, its state and how far its steps are."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from crossdock.workflows.model import (
    CANCELLED_BY_FLOW,
    ENDED,
    UNDONE,
    UNRESOLVED,
    Direction,
    Execution,
    ExecutionState,
    Flow,
    Memo,
    Progress,
    Route,
    Step,
    StepError,
    StepKind,
    StepProgress,
    StepState,
)


@dataclass(frozen=True)
class Try:
    """Try a step, or its undo, for the first time or again with the same key."""

    step: Step
    direction: Direction
    #: Not before; None for at once.
    at: datetime | None = None


@dataclass(frozen=True)
class Skip:
    """Record that there is nothing to undo: the step certainly had no effect."""

    step: Step


@dataclass(frozen=True)
class TurnBack:
    """Undo what was done."""

    reason: str
    #: Who has it cancelled; None where a step failed.
    cancelled_by: str | None = None


@dataclass(frozen=True)
class Finish:
    """All is done, or all is undone."""

    state: ExecutionState


@dataclass(frozen=True)
class AskPerson:
    """A person has to say what becomes of a step."""

    step: Step
    direction: Direction
    question: str
    #: Why it did not succeed; None for one that only waits.
    error: StepError | None = None


@dataclass(frozen=True)
class Rest:
    """Nothing happens by itself: it has ended, or a person has to decide."""


Move = Try | Skip | TurnBack | Finish | AskPerson | Rest


def next_move(
    flow: Flow,
    execution: Execution,
    progress: Progress,
    within: Container[str] | None = None,
    memo: Memo | None = None,
) -> Move:
    """
    Choose the next move of *execution*. Of steps that do not wait for each other, those *within* come first.

    A step whose outcome is unknown is resolved before anything else is done: the flow neither goes on, nor are the steps
    before it undone, nor does time make it a failure.
    """
    if execution.waits_for is not None:
        return Rest()
    if execution.state is ExecutionState.UNDOING:
        return _backward(flow.route(execution, progress, memo), progress)
    if execution.state is not ExecutionState.UNDONE and execution.cancelled_by is not None:
        return TurnBack(f"cancelled by {execution.cancelled_by}", execution.cancelled_by)
    if execution.state in ENDED:
        return Rest()
    route = flow.route(execution, progress, memo)
    if route.cancelled is not None:
        return TurnBack(route.cancelled, CANCELLED_BY_FLOW)
    now = execution.read_at
    moves = [_forward(flow, execution, step, progress.get((step.name, Direction.ACT)), now) for step in route.next]
    return _most_urgent(moves, now, within) if moves else Finish(ExecutionState.COMPLETED)


def _most_urgent(moves: Sequence[Move], now: datetime, within: Container[str] | None) -> Move:
    """Choose among the moves of steps that do not wait for each other."""

    def rank(move: Move) -> tuple[int, datetime]:
        match move:
            case TurnBack():
                return 0, now
            case Try(step=step, at=at) if at is None or at <= now:
                return 1 if within is None or step.name in within else 2, now
            case Try(at=at) if at is not None:
                return 4, at
            case _:
                return 3, now

    return min(moves, key=rank)


def _forward(flow: Flow, execution: Execution, step: Step, known: StepProgress | None, now: datetime) -> Move:
    if _is_too_late(step, execution, now):
        return TurnBack(f"It took longer than {_minutes(flow)} to its point of no return")
    if known is None:
        return Try(step, Direction.ACT)
    if _is_refused(step, known) and step.kind is not StepKind.RETRIABLE:
        return TurnBack(f"{step.name}: {known.message}")
    if known.state is StepState.FAILED and not may_retry(step, known) and step.kind is not StepKind.RETRIABLE:
        return TurnBack(f"{step.name}: {known.message} (tried {known.tried} times)")
    return _again_or_ask(step, known)


def _is_refused(step: Step, known: StepProgress) -> bool:
    return known.state is StepState.REFUSED and not may_retry(step, known)


def _is_too_late(step: Step, execution: Execution, now: datetime) -> bool:
    """Whether the time up to the pivot is over. What was called at the pivot is never given up by time."""
    return step.kind is StepKind.COMPENSATABLE and execution.deadline_at is not None and execution.deadline_at < now


def _minutes(flow: Flow) -> str:
    return f"{(flow.timeout or timedelta(0)).total_seconds() / 60:g} minutes"


def _backward(route: Route, progress: Progress) -> Move:
    for step in reversed(route.steps):
        acted = progress.get((step.name, Direction.ACT))
        undone = progress.get((step.name, Direction.UNDO))
        if undone is not None and undone.state in UNDONE:
            continue
        if acted is None:
            if not step.undo_always:
                continue
            return Try(step, Direction.UNDO) if undone is None else _again_or_ask(step, undone)
        if acted.state in UNRESOLVED and not step.undo_resolves:
            return _again_or_ask(step, acted)
        # An undo that finds out by itself what is there is asked also after a refusal: a part may have been authorised.
        is_nothing = acted.state in (StepState.REFUSED, StepState.FAILED) and not step.undo_resolves
        if step.undo is None or (undone is None and is_nothing):
            return Skip(step)
        if undone is None:
            # The call of an open act may be running: it is over when its time is.
            return Try(step, Direction.UNDO, acted.next_at if acted.state is StepState.OPEN else None)
        return _again_or_ask(step, undone)
    return Finish(ExecutionState.UNDONE)


def _again_or_ask(step: Step, known: StepProgress) -> Move:
    if known.state is StepState.OPEN or may_retry(step, known):
        return Try(step, known.direction, known.next_at)
    return AskPerson(step, known.direction, _question(step, known), error_of(known))


def may_retry(step: Step, known: StepProgress) -> bool:
    """Whether a step that did not succeed is tried again by itself. What a person asked for is tried once whatever its rules are."""
    rules, error = step.retry_of(known.direction), error_of(known)
    if known.state is not StepState.WAITING and error is None:
        return False
    return known.tried == 0 or (known.tried < rules.attempts and (error is None or error in rules.errors))


def error_of(known: StepProgress) -> StepError | None:
    """Say why a step did not succeed; None where it did, or has not ended."""
    match known.state:
        case StepState.FAILED:
            return known.error or StepError.FAILED
        case StepState.REFUSED:
            return known.error or StepError.REFUSED
        case StepState.UNKNOWN:
            return StepError.UNKNOWN
        case _:
            return None


def _question(step: Step, known: StepProgress) -> str:
    what = step.name if known.direction is Direction.ACT else f"the undo of {step.name}"
    if known.state is StepState.UNKNOWN:
        return f"Nobody knows what became of {what}: {known.message}. Decide {StepState.DONE} if it had its effect"
    if known.state is StepState.WAITING:
        return f"{what} still waits: {known.message}. Look it up in the other system"
    return f"{what} does not succeed: {(known.message or '').rstrip('.')}. Remove the cause, then retry it"
