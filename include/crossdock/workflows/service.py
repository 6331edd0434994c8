"""
Use cases of the step engine: start an execution, move it on, cancel it, and resolve what nobody knows.

A step that calls another system is committed as open before its call, and no transaction is open during it. A step in the
hub's database is done in the transaction that records its end. Whoever is killed in between leaves a row that says which
call may have had its effect, with the key by which it is repeated.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta

import psycopg

from crossdock.core.errors import Conflict, HubError, NotFound, Transient
from crossdock.core.failpoints import failpoint
from crossdock.core.log import logger
from crossdock.db.database import Store, StoreUnavailable, Work, bare, is_transient
from crossdock.integrations.actions.model import Document, Done, Ended, Failed, Refused, Unknown
from crossdock.observability import audit
from crossdock.workflows import repository
from crossdock.workflows.machine import AskPerson, Finish, Move, Rest, Skip, Try, TurnBack, next_move
from crossdock.workflows.model import (
    ENDED,
    Change,
    Direction,
    Driver,
    Execution,
    ExecutionState,
    Finished,
    Flow,
    InHub,
    NeedsPerson,
    Outside,
    Progress,
    StepCall,
    StepEnded,
    StepProgress,
    StepState,
    TurnedBack,
    key_of,
    outputs_of,
    progress_of,
)

log = logger(__name__)

#: An execution whose next event does not come is taken up by whoever looks for what is due.
_SAFETY_NET = timedelta(seconds=30)

Flows = Mapping[str, Flow]


@dataclass(frozen=True)
class _Called:
    """A try that is committed, and may be made now."""

    execution: Execution
    flow: Flow
    effect: Outside
    tried: StepProgress
    call: StepCall


def start(
    work: Work, flow: Flow, subject: str, given: Document, *, driver: Driver, actor: str
) -> tuple[Execution, bool]:
    """
    Start an execution of *flow* for *subject*, in the caller's transaction; return it, and whether it is new.

    The second start for one subject returns the first one's execution, whatever its input.
    """
    return repository.add(
        work, flow.name, subject, given, driver=driver, timeout=flow.timeout, first=_SAFETY_NET, actor=actor
    )


def advance(
    store: Store,
    flows: Flows,
    execution_id: str,
    *,
    within: Collection[str] | None = None,
    once: bool = False,
) -> Execution:
    """
    Move an execution on as far as it goes now, and return it.

    It stops when it has ended, waits for a time or a person, is at work elsewhere, comes to a step that is not *within*
    those, or, with *once*, has tried one step. May be called at any time, by any number of processes.

    Raises:
        NotFound: there is no such execution, or its flow does not exist any more.
        StoreUnavailable: the hub's database failed. Calling it again is safe.

    """
    while True:
        with store.transaction() as work:
            execution, moved = _move(work, flows, execution_id, within)
        if isinstance(moved, _Called):
            execution = _make(store, moved)
        if moved is None or (once and not isinstance(moved, _Moved)):
            return execution


def take_due(store: Store, *, drivers: Collection[Driver] = (Driver.EVENTS,), limit: int = 20) -> list[str]:
    """Take executions that are due, at most *limit*, for `go_on`; while that has not begun, nobody else takes them for a moment."""
    with store.transaction() as work:
        return repository.take_due(work, drivers, limit=limit, grace=_SAFETY_NET)


def go_on(store: Store, flows: Flows, execution_id: str) -> None:
    """
    Move an execution on that is due. One that fails is logged, and leaves the others alone.

    Raises:
        StoreUnavailable: the hub's database failed. Calling it again is safe.

    """
    try:
        advance(store, flows, execution_id)
    except StoreUnavailable:
        raise
    except HubError as error:
        log.error("Execution %s cannot go on: %s", execution_id, error)  # noqa: TRY400  the message says all
    except Exception:
        log.exception("Execution %s cannot go on, by a defect", execution_id)


def cancel(store: Store, execution_id: str, *, reason: str, actor: str) -> Execution:
    """
    Have everything undone that an execution did, also one that has completed. What is at work now is undone when it has ended.

    The second cancellation of one execution changes nothing.

    Raises:
        NotFound: there is no such execution.

    """
    with store.transaction() as work:
        execution = repository.lock(work, execution_id)
        if (
            execution.state in (ExecutionState.UNDOING, ExecutionState.UNDONE)
            or execution.cancelled_because is not None
        ):
            return execution
        _audit(work, execution, "cancel", reason, actor)
        return repository.save(work, execution, cancelled_because=reason, waits_for=None, next_at=repository.now(work))


def retry(store: Store, execution_id: str, *, reason: str, actor: str) -> Execution:
    """
    Try the step again that a person has to decide about, with as many tries as at first.

    Raises:
        NotFound: there is no such execution.
        Conflict: it waits for nobody.

    """
    with store.transaction() as work:
        execution = repository.lock(work, execution_id)
        tried = _waiting_step(work, execution)
        repository.allow_tries(work, execution, tried.step, tried.direction)
        _audit(work, execution, "retry", reason, actor, step=tried.step)
        return repository.save(work, execution, waits_for=None, next_at=repository.now(work))


def resolve(
    store: Store,
    execution_id: str,
    state: StepState,
    *,
    output: Document | None = None,
    reason: str,
    actor: str,
) -> Execution:
    """
    Record what a person found out about the step that an execution waits for.

    Args:
        store: The hub's database.
        execution_id: The execution.
        state: `done`: it had its effect. `refused`: it was decided against. `failed`: it had none.
        output: What the step would have put out, if it is done.
        reason: How the person knows.
        actor: The person.

    Raises:
        NotFound: there is no such execution.
        Conflict: it waits for nobody.

    """
    if state not in (StepState.DONE, StepState.REFUSED, StepState.FAILED):
        raise Conflict(f"A step is resolved as done, refused or failed, not as {state}")
    with store.transaction() as work:
        execution = repository.lock(work, execution_id)
        tried = _waiting_step(work, execution)
        repository.resolve(work, execution, tried.step, tried.direction, state, output=output, message=reason)
        _audit(work, execution, "resolve", reason, actor, step=tried.step, state=state)
        return repository.save(work, execution, waits_for=None, next_at=repository.now(work))


def _waiting_step(work: Work, execution: Execution) -> StepProgress:
    if execution.waits_for is None:
        raise Conflict(f"{execution.subject} waits for no decision: it is {execution.state}")
    name, _, direction = execution.waits_for.partition(":")
    return progress_of(repository.steps_of(work, execution.execution_id))[name, Direction(direction)]


def _audit(work: Work, execution: Execution, act: str, reason: str, actor: str, **detail: str) -> None:
    subject = f"execution/{execution.execution_id}"
    audit.add(work, actor=actor, act=f"execution.{act}", subject=subject, detail={"reason": reason, **detail})


class _Moved:
    """The execution was moved on without a try of a step: there may be more to do."""


class _Tried:
    """A step in the hub's database was tried: there may be more to do."""


_Move = _Called | _Moved | _Tried


def _move(
    work: Work, flows: Flows, execution_id: str, within: Collection[str] | None
) -> tuple[Execution, _Move | None]:
    """Make the next move, or open the try of a call; return None for the move if there is nothing to do now."""
    execution = repository.lock(work, execution_id)
    flow = _flow_of(flows, execution)
    progress, now = progress_of(repository.steps_of(work, execution_id)), repository.now(work)
    match next_move(flow, execution, progress, now):
        case Rest():
            return repository.save(work, execution, next_at=None), None
        case Try(at=at) if at is not None and at > now:
            return repository.save(work, execution, next_at=at), None
        case Try() as move:
            if within is not None and move.direction is Direction.ACT and move.step.name not in within:
                return execution, None
            return _try(work, flow, execution, move, progress)
        case Skip(step=step):
            repository.skip_undo(work, execution, step.name, key_of(execution_id, step.name, Direction.UNDO))
            return execution, _Moved()
        case move:
            return _turn(work, flow, execution, move), _Moved()


def _flow_of(flows: Flows, execution: Execution) -> Flow:
    if execution.flow not in flows:
        raise NotFound(f"The flow {execution.flow!r} of {execution.subject} does not exist in this version")
    return flows[execution.flow]


def _turn(work: Work, flow: Flow, execution: Execution, move: Move) -> Execution:
    """Record a move that calls nothing."""
    change: Change
    now = repository.now(work)
    match move:
        case TurnBack(reason=reason):
            changed = repository.save(
                work, execution, state=ExecutionState.UNDOING, reason=reason, waits_for=None, next_at=now
            )
            change = TurnedBack(reason)
        case Finish(state=state):
            changed = repository.save(work, execution, state=state, waits_for=None, next_at=None)
            change = Finished(state)
        case AskPerson(step=step, direction=direction, question=question):
            changed = repository.save(work, execution, waits_for=f"{step.name}:{direction}", next_at=None)
            change = NeedsPerson(step.name, direction, question)
        case _:
            raise AssertionError(move)
    flow.on_change(work, changed, change)
    return changed


def _try(
    work: Work, flow: Flow, execution: Execution, move: Try, progress: Progress
) -> tuple[Execution, _Called | _Tried]:
    """Open a try; of a step in the hub's database, also make it and record its end."""
    effect = move.step.act if move.direction is Direction.ACT else move.step.undo
    assert effect is not None  # noqa: S101  a step without an undo is skipped
    name, direction = move.step.name, move.direction
    if direction is Direction.UNDO:
        repository.replace_open(work, execution, name)
    timeout = timedelta(seconds=effect.timeout_s if isinstance(effect, Outside) else 0)
    key = key_of(execution.execution_id, name, direction)
    tried = repository.begin(work, execution, name, direction, key, timeout=timeout)
    call = _call_of(execution, tried, progress)
    if isinstance(effect, Outside):
        execution = repository.save(work, execution, next_at=tried.next_at)
        return execution, _Called(execution, flow, effect, tried, call)
    return _end(work, flow, execution, tried, _in_hub(work, effect, call)), _Tried()


def _call_of(execution: Execution, tried: StepProgress, progress: Progress) -> StepCall:
    return StepCall(
        execution_id=execution.execution_id,
        subject=execution.subject,
        step=tried.step,
        direction=tried.direction,
        key=tried.key,
        given=execution.input,
        outputs=outputs_of(progress),
        actor=execution.created_by,
        refuse_replaced=lambda later: repository.refuse_replaced(later, execution.execution_id, tried),
    )


def _in_hub(work: Work, effect: InHub, call: StepCall) -> Ended:
    """Make the effect in a savepoint: what does not succeed leaves nothing, and its end is recorded all the same."""
    try:
        return _made_or_rolled_back(work, effect, call)
    except StoreUnavailable:
        raise
    except Transient as error:
        return Failed(str(error), error.retry_in_s)
    except HubError as error:
        return Refused(str(error))
    except Exception as error:
        if isinstance(error, psycopg.Error) and is_transient(error):
            raise
        shown = bare(error) if isinstance(error, psycopg.Error) else error
        log.exception("The step %s of %s failed by a defect", call.step, call.subject, exc_info=shown)
        return Failed(f"a defect of the hub: {type(error).__name__}")


def _made_or_rolled_back(work: Work, effect: InHub, call: StepCall) -> Ended:
    with work.transaction() as savepoint:
        ended = effect.run(work, call)
        if not isinstance(ended, Done):
            raise psycopg.Rollback(savepoint)
    return ended


def _make(store: Store, called: _Called) -> Execution:
    """Make the call of a try, while no transaction is open, and record its end."""
    failpoint("workflows.begun")
    failpoint(f"workflows.begun.{called.call.step}.{called.call.direction}")
    try:
        ended = called.effect.run(called.call)
    except StoreUnavailable:
        # The try stays open: when its time is over, it is made again with the same key.
        raise
    except Exception as error:
        log.exception("The step %s of %s failed by a defect", called.call.step, called.call.subject)
        ended = Unknown(f"a defect of the hub: {type(error).__name__}")
    failpoint("workflows.called")
    failpoint(f"workflows.called.{called.call.step}.{called.call.direction}")
    with store.transaction() as work:
        execution = repository.lock(work, called.execution.execution_id)
        execution = _end(work, called.flow, execution, called.tried, ended)
    failpoint("workflows.ended")
    return execution


def _end(work: Work, flow: Flow, execution: Execution, tried: StepProgress, ended: Ended) -> Execution:
    """Record the end of a try with what belongs to it, unless another process has tried the step since."""
    state, message, asked_s = _outcome(ended)
    output = ended.output if isinstance(ended, Done) else None
    wait_s = None
    if state in (StepState.FAILED, StepState.UNKNOWN):
        retry_rules = flow.step(tried.step).retry
        # Random, so that a hundred orders that failed together do not come back together.
        wait_s = retry_rules.wait_s(max(tried.tried, 1), asked_s) * random.uniform(0.75, 1.25)  # noqa: S311  no secret
    known = repository.end(work, execution, tried, state, output=output, message=message, wait_s=wait_s)
    if known is None:
        return execution
    flow.on_change(work, execution, StepEnded(tried.step, tried.direction, state, output, message))
    next_at = known.next_at or repository.now(work) + (_SAFETY_NET if execution.state not in ENDED else timedelta(0))
    return repository.save(work, execution, next_at=next_at)


def _outcome(ended: Ended) -> tuple[StepState, str | None, float | None]:
    match ended:
        case Done():
            return StepState.DONE, None, None
        case Refused(message=message):
            return StepState.REFUSED, message, None
        case Failed(message=message, retry_in_s=asked_s):
            return StepState.FAILED, message, asked_s
        case Unknown(message=message):
            return StepState.UNKNOWN, message, None
