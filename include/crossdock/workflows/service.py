"""
Use cases of the step engine: start an execution, move it on, cancel it, and resolve what nobody knows.

A step that calls another system is committed as open before its call, and no transaction is open during it. A step in the
hub's database is done in the transaction that records its end. Whoever is killed in between leaves a row that says which
call may have had its effect, with the key by which it is repeated.
"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf
from typing import Any

import psycopg
from msgspec.structs import replace

from crossdock.core.errors import Conflict, HubError, NotFound, Transient
from crossdock.core.failpoints import failpoint
from crossdock.core.log import logger
from crossdock.core.roles import Role
from crossdock.db.database import Store, StoreUnavailable, Work, bare, is_transient
from crossdock.integrations.actions.model import Document, Done, Failed, Refused, RefusedBy, Unknown
from crossdock.observability import audit, decisions
from crossdock.observability.decisions import Decision, DecisionKind
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
    Memo,
    NeedsPerson,
    Outside,
    Postponed,
    Progress,
    Retry,
    Step,
    StepCall,
    StepEnd,
    StepEnded,
    StepError,
    StepKind,
    StepProgress,
    StepState,
    TimedOut,
    TryEnd,
    TurnedBack,
    Waiting,
    key_of,
    next_try,
    outputs_of,
)

log = logger(__name__)

#: How long an execution is left to whoever drives it: then the next who looks for what is due takes it up. An event comes at
#: once; of a batch, some wait while others are moved.
_LEFT_ALONE = {Driver.EVENTS: timedelta(seconds=30), Driver.DAG: timedelta(minutes=5)}
#: One that has been due for so long, and was taken by no run, goes on by events.
_OVERDUE = timedelta(minutes=5)

#: What may be decided about a step, besides what became of it.
_RETRY, _CANCEL = "retry", "cancel"

Flows = Mapping[str, Flow]


@dataclass(frozen=True)
class _Opened:
    """A try that has begun."""

    flow: Flow
    step: Step
    tried: StepProgress


@dataclass(frozen=True)
class _Called:
    """A try that is committed, and may be made now."""

    execution: Execution
    opened: _Opened
    effect: Outside
    call: StepCall


@dataclass(frozen=True)
class _Made:
    """A call that was made, and how it ended: not recorded yet."""

    called: _Called
    ended: TryEnd


def start(
    work: Work,
    flow: Flow,
    subject: str,
    given: Document,
    *,
    driver: Driver,
    actor: str,
    is_woken: bool = True,
) -> tuple[Execution, bool]:
    """
    Start an execution of *flow* for *subject*, in the caller's transaction; return it, and whether it is new.

    The second start for one subject returns the first one's execution, whatever its input. One that an event wakes is left
    to it for a while.
    """
    # Nothing wakes a run for one that is driven by a DAG: it is due for the next one.
    first = _LEFT_ALONE[driver] if driver is Driver.EVENTS and is_woken else timedelta(0)
    return repository.add(
        work, flow.name, subject, given, driver=driver, timeout=flow.timeout, first=first, actor=actor
    )


def advance(
    store: Store,
    flows: Flows,
    execution_id: str,
    *,
    driver: Driver | None = None,
    within: Container[str] | None = None,
    undoes: bool = True,
    once: bool = False,
    for_s: float | None = None,
) -> Execution:
    """
    Move an execution on as far as it goes now, and return it.

    It stops when it has ended, waits for a time or a person, is at work elsewhere, comes to a step that is not *within*
    those, or, with *once*, has tried one step. May be called at any time, by any number of processes.

    Args:
        store: The hub's database.
        flows: The flows that there are.
        execution_id: The execution.
        driver: Leave it alone if it is not driven in this way.
        within: On its way forward, make only these steps.
        undoes: False to stop where something has to be undone.
        once: Stop after one try of a step.
        for_s: After so long, stop when a call has ended, and leave it to whoever takes up next what is due.

    Raises:
        NotFound: there is no such execution, or its flow does not exist any more.
        StoreUnavailable: the hub's database failed. Calling it again is safe.

    """
    bounds = _Bounds(driver, within, undoes)
    made: _Made | None = None
    ends_at = time.monotonic() + for_s if for_s is not None else inf
    while True:
        is_over = made is not None and time.monotonic() > ends_at
        try:
            with store.transaction() as work:
                execution, moved = _move_on(work, flows, execution_id, bounds, made, once=once or is_over)
        except BaseException:
            # Also where the time of a task is over, or its process has to end.
            if made:
                _keep_end(store, made)
            raise
        if made:
            failpoint("workflows.ended")
        if is_over:
            release(store, execution.driver, [execution_id])
        if not isinstance(moved, _Called):
            return execution
        made = _make(moved)


def take_due(store: Store, driver: Driver, *, limit: int = 20, run_id: str | None = None) -> list[Execution]:
    """
    Take executions that are due, at most *limit*; nobody else takes them for as long as their driver may need to begin.

    *run_id* is the run of a DAG that takes them, and is kept with them.
    """
    with store.transaction() as work:
        taken = repository.take_due(work, driver, limit=limit, grace=_LEFT_ALONE[driver])
        if run_id and taken:
            repository.add_run(work, run_id, [execution.execution_id for execution in taken])
        return taken


def take(store: Store, execution_id: str, driver: Driver, *, run_id: str) -> Execution:
    """
    Take one execution as `take_due` does, if it is due and driven in this way; return it as it is.

    Raises:
        NotFound: there is no such execution.

    """
    with store.transaction() as work:
        execution = repository.lock(work, execution_id)
        if execution.driver is not driver or (execution.state in ENDED and execution.next_at is None):
            return execution
        # Also where another run has just taken it: this one goes on with it, too.
        repository.add_run(work, run_id, [execution_id])
        if execution.next_at is None or execution.next_at > execution.read_at:
            return execution
        return _saved(work, execution, next_at=execution.read_at + _LEFT_ALONE[driver])


def take_over(store: Store, *, limit: int = 20) -> int:
    """
    Have what no run of the DAG takes any more driven by events, at most *limit*; return how many.

    From then on, a run that comes late leaves them alone: `advance` looks at the driver under the lock.
    """
    with store.transaction() as work:
        found = repository.hand_over(work, Driver.DAG, Driver.EVENTS, overdue=_OVERDUE, limit=limit)
    if found:
        log.warning("No run of the DAG took %s executions for %s: they go on by events", len(found), _OVERDUE)
    return len(found)


def release(store: Store, driver: Driver, execution_ids: Collection[str]) -> None:
    """Give back what was taken with `take_due`: it is due again, unless a step waits for its time or a person."""
    with store.transaction() as work:
        repository.release(work, driver, execution_ids)


def go_on(
    store: Store,
    flows: Flows,
    execution_id: str,
    driver: Driver,
    *,
    within: Container[str] | None = None,
    undoes: bool = True,
    once: bool = False,
    for_s: float | None = None,
) -> None:
    """
    Move one execution of several on, as `advance`. One that fails is logged, and leaves the others alone.

    Raises:
        StoreUnavailable: the hub's database failed. Calling it again is safe.

    """
    try:
        advance(store, flows, execution_id, driver=driver, within=within, undoes=undoes, once=once, for_s=for_s)
    except StoreUnavailable:
        raise
    except HubError as error:
        log.error("Execution %s cannot go on: %s", execution_id, error)  # noqa: TRY400  the message says all
    except Exception:
        log.exception("Execution %s cannot go on, by a defect", execution_id)


def cancel(store: Store, execution_id: str, *, reason: str, actor: str, decision_id: int | None = None) -> Execution:
    """
    Have everything undone that an execution did, also one that has completed. What is at work now is undone when it has ended.

    The second cancellation of one execution changes nothing. As every answer to a decision, it is recorded there.

    Raises:
        NotFound: there is no such execution.
        AlreadyDecided: it is the answer to *decision_id*, and somebody has decided before.

    """
    with store.transaction() as work:
        execution = _locked(work, execution_id, decision_id)
        if execution.state in (ExecutionState.UNDOING, ExecutionState.UNDONE) or execution.cancelled_by is not None:
            return execution
        _audit(work, execution, "cancel", reason, actor)
        _record(work, execution, "cancel", actor)
        return _saved(work, execution, cancelled_by=actor, waits_for=None, next_at=execution.read_at)


def retry(
    store: Store,
    execution_id: str,
    *,
    reason: str,
    actor: str,
    decision_id: int | None = None,
    process_is_dead: bool = False,
) -> Execution:
    """
    Try the step again that a person has to decide about, with as many tries as at first; or the one that waits for its time, now.

    With *process_is_dead* also one whose call is open. Otherwise it is repeated when it must be over. If its process lives all
    the same, it sends nothing more, and the call that it has sent is repeated with its key.

    Raises:
        NotFound: there is no such execution.
        Conflict: no step waits for anybody or anything.
        AlreadyDecided: it is the answer to *decision_id*, and somebody has decided before.

    """
    with store.transaction() as work:
        execution = _locked(work, execution_id, decision_id)
        if execution.waits_for is None:
            names = repository.try_now(work, execution, process_is_dead=process_is_dead)
            if not names:
                raise _waits_for_nothing(execution)
        else:
            tried = _waiting_step(work, execution)
            repository.allow_tries(work, execution, tried.step, tried.direction)
            names = [tried.step]
        _audit(work, execution, "retry", reason, actor, step=", ".join(names))
        _record(work, execution, "retry", actor)
        return _saved(work, execution, waits_for=None, next_at=execution.read_at)


def resolve(
    store: Store,
    execution_id: str,
    state: StepState,
    *,
    output: Document | None = None,
    reason: str,
    actor: str,
    decision_id: int | None = None,
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
        decision_id: The decision that this is the answer to; None to answer what is asked now.

    Raises:
        NotFound: there is no such execution.
        Conflict: it waits for nobody.
        AlreadyDecided: somebody has decided before.

    """
    if state not in (StepState.DONE, StepState.REFUSED, StepState.FAILED):
        raise Conflict(f"A step is resolved as done, refused or failed, not as {state}")
    with store.transaction() as work:
        execution = _locked(work, execution_id, decision_id)
        tried = _waiting_step(work, execution)
        said = f"{actor} said that it is {state}"
        repository.resolve(work, execution, tried.step, tried.direction, state, output=output, message=said)
        _audit(work, execution, "resolve", reason, actor, step=tried.step, state=state)
        _record(work, execution, state, actor)
        return _saved(work, execution, waits_for=None, next_at=execution.read_at)


def decide(store: Store, decision: Decision, choice: str, reason: str, actor: str) -> Execution:
    """
    Carry out what was decided about a step.

    Raises:
        Conflict: somebody has decided before, or the execution waits for nobody.

    """
    if choice == _RETRY:
        return retry(store, decision.subject, reason=reason, actor=actor, decision_id=decision.decision_id)
    if choice == _CANCEL:
        return cancel(store, decision.subject, reason=reason, actor=actor, decision_id=decision.decision_id)
    state = StepState(choice)
    return resolve(store, decision.subject, state, reason=reason, actor=actor, decision_id=decision.decision_id)


def _locked(work: Work, execution_id: str, decision_id: int | None) -> Execution:
    """Lock the execution that a person decides about. Under the lock, a decision is made once."""
    execution = repository.lock(work, execution_id)
    if decision_id is not None:
        decisions.refuse_decided(work, decision_id)
    return execution


def _ask(work: Work, execution: Execution, asked: AskPerson, *, about: str) -> None:
    decisions.ask(
        work,
        DecisionKind.STEP,
        execution.execution_id,
        about=about,
        question=asked.question,
        choices=_choices(execution, asked),
        role=Role.OPERATOR,
    )


def _choices(execution: Execution, asked: AskPerson) -> tuple[str, ...]:
    """List what can be decided; nothing after which the same question would come at once."""
    is_undoing = execution.state is ExecutionState.UNDOING
    if asked.direction is Direction.UNDO:
        return (_RETRY, StepState.DONE)
    if asked.step.kind is StepKind.RETRIABLE and not is_undoing:
        return (_RETRY, StepState.DONE, _CANCEL)
    found_out = (_RETRY, StepState.DONE, StepState.REFUSED, StepState.FAILED)
    return found_out if is_undoing else (*found_out, _CANCEL)


def _record(work: Work, execution: Execution, choice: str, actor: str) -> None:
    if execution.waits_for is not None:
        decisions.record(work, DecisionKind.STEP, execution.execution_id, choice, actor=actor)


def words_of_cancellation(work: Work, execution: Execution) -> str | None:
    """Find why a person had an execution cancelled, in their own words; None if nobody had. Only the audit trail has them."""
    if execution.cancelled_by is None:
        return None
    found = audit.last(work, _audit_subject(execution), ["execution.cancel"], not_by=())
    return found.detail["reason"] if found else None


def _saved(work: Work, execution: Execution, **changes: Any) -> Execution:
    changed = replace(execution, **changes)
    repository.save(work, changed)
    return changed


def _waiting_step(work: Work, execution: Execution) -> StepProgress:
    if execution.waits_for is None:
        raise _waits_for_nothing(execution)
    name, _, direction = execution.waits_for.partition(":")
    return repository.how_far(work, execution.execution_id)[name, Direction(direction)]


def _waits_for_nothing(execution: Execution) -> Conflict:
    return Conflict(f"{execution.subject} waits for no decision: it is {execution.state}")


def _audit(work: Work, execution: Execution, act: str, reason: str, actor: str, **detail: str) -> None:
    detail = {"reason": reason, **detail}
    audit.add(work, actor=actor, act=f"execution.{act}", subject=_audit_subject(execution), detail=detail)


def _audit_subject(execution: Execution) -> str:
    return f"execution/{execution.execution_id}"


class _Moved:
    """The execution was moved on without a try of a step: there may be more to do."""


class _Skipped(_Moved):
    """There was nothing to undo of a step."""


@dataclass(frozen=True)
class _Tried:
    """A step in the hub's database was tried: there may be more to do."""

    #: How far it is now.
    row: StepProgress


_Move = _Called | _Moved | _Tried


@dataclass(frozen=True)
class _Seen:
    """What a step is given of those before it."""

    progress: Progress
    memo: Memo


@dataclass(frozen=True)
class _Bounds:
    """How far an execution may be moved by a caller."""

    driver: Driver | None
    within: Container[str] | None
    undoes: bool
    #: As of `StepCall`.
    memo: Memo = field(default_factory=dict)

    def exclude(self, execution: Execution, move: Move) -> bool:
        if self.driver not in (None, execution.driver):
            return True
        if execution.state is ExecutionState.UNDOING:
            # An act is repeated here only to find out what became of it, whatever the steps are.
            return not self.undoes
        return self.within is not None and isinstance(move, Try) and move.step.name not in self.within


def _move_on(
    work: Work, flows: Flows, execution_id: str, bounds: _Bounds, made: _Made | None, *, once: bool
) -> tuple[Execution, _Called | None]:
    """
    Record the end of the call that was *made*, then make moves until one is a call, or there is nothing to do now.

    With *once*, stop at the first end of a try. All of it is one transaction, in which the execution is written once: an end
    and what follows it cost one commit, not two.
    """
    execution = repository.lock(work, execution_id)
    if made:
        execution, _ = _end(work, execution, made.called.opened, made.ended)
        if once:
            repository.save(work, execution)
            return execution, None
    flow = _flow_of(flows, execution)
    progress = repository.how_far(work, execution_id)
    while True:
        execution, moved = _move(work, flow, execution, progress, bounds)
        if isinstance(moved, _Called) or moved is None or (once and isinstance(moved, _Tried)):
            repository.save(work, execution)
            return execution, moved if isinstance(moved, _Called) else None
        match moved:
            case _Tried(row=row) if row.direction is Direction.ACT:
                # Under the lock, nobody else has changed a step.
                progress[row.step, row.direction] = row
            case _Tried() | _Skipped():
                # An undo also says of an open act that it is replaced.
                progress = repository.how_far(work, execution_id)


def _move(
    work: Work, flow: Flow, execution: Execution, progress: Progress, bounds: _Bounds
) -> tuple[Execution, _Move | None]:
    """Make the next move, or open the try of a call; return None for the move if there is nothing to do now."""
    move = next_move(flow, execution, progress, bounds.within, bounds.memo)
    if bounds.exclude(execution, move):
        return execution, None
    match move:
        case Rest():
            return replace(execution, next_at=None), None
        case Try(at=at) if at is not None and at > execution.read_at:
            return replace(execution, next_at=at), None
        case Try():
            return _try(work, flow, execution, move, _Seen(progress, bounds.memo))
        case Skip(step=step):
            # A call that is running has nothing more to say: its step is over.
            repository.replace_open(work, execution, step.name)
            repository.skip_undo(work, execution, step.name, key_of(execution.execution_id, step.name, Direction.UNDO))
            return execution, _Skipped()
        case _:
            return _turn(work, flow, execution, move), _Moved()


def _flow_of(flows: Flows, execution: Execution) -> Flow:
    if execution.flow not in flows:
        raise NotFound(f"The flow {execution.flow!r} of {execution.subject} does not exist in this version")
    return flows[execution.flow]


def _turn(work: Work, flow: Flow, execution: Execution, move: Move) -> Execution:
    """Record a move that calls nothing."""
    change: Change
    match move:
        case TurnBack(reason=reason, cancelled_by=by):
            undoing, now = ExecutionState.UNDOING, execution.read_at
            changed = replace(execution, state=undoing, reason=reason, cancelled_by=by, waits_for=None, next_at=now)
            change = TurnedBack(reason)
        case Finish(state=state):
            changed = replace(execution, state=state, waits_for=None, next_at=None)
            change = Finished(state)
        case AskPerson(step=step, direction=direction, question=question, error=error) as asked:
            changed = replace(execution, waits_for=f"{step.name}:{direction}", next_at=None)
            change = NeedsPerson(step.name, direction, question, error)
            _ask(work, execution, asked, about=flow.about(execution))
        case _:
            raise AssertionError(move)
    flow.on_change(work, changed, change)
    return changed


def _try(work: Work, flow: Flow, execution: Execution, move: Try, seen: _Seen) -> tuple[Execution, _Called | _Tried]:
    """Open a try; of a step in the hub's database, also make it and record its end."""
    effect = move.step.act if move.direction is Direction.ACT else move.step.undo
    assert effect is not None  # noqa: S101  a step without an undo is skipped
    name, direction = move.step.name, move.direction
    if direction is Direction.UNDO:
        repository.replace_open(work, execution, name)
    key = key_of(execution.execution_id, name, direction)
    if isinstance(effect, Outside):
        tried = repository.begin(work, execution, name, direction, key, timeout=timedelta(seconds=effect.timeout_s))
        call = _call_of(execution, tried, seen)
        return replace(execution, next_at=tried.next_at), _Called(
            execution, _Opened(flow, move.step, tried), effect, call
        )
    # Its end comes in the same transaction: it is written once, with its end.
    tried = next_try(seen.progress.get((name, direction)), name, direction, key, execution.read_at)
    began = time.monotonic()
    ended = _in_hub(work, effect, _call_of(execution, tried, seen))
    failpoint(f"workflows.made.{name}.{direction}")
    took = timedelta(seconds=time.monotonic() - began)
    execution, known = _end(work, execution, _Opened(flow, move.step, tried), ended, took=took)
    assert known is not None  # noqa: S101  nobody else has tried it under the lock
    return execution, _Tried(known)


def _call_of(execution: Execution, tried: StepProgress, seen: _Seen) -> StepCall:
    return StepCall(
        execution_id=execution.execution_id,
        subject=execution.subject,
        step=tried.step,
        direction=tried.direction,
        key=tried.key,
        given=execution.input,
        outputs=outputs_of(seen.progress),
        actor=execution.created_by,
        began_at=tried.began_at,
        now=execution.read_at,
        memo=seen.memo,
        refuse_replaced=lambda later: repository.refuse_replaced(later, execution.execution_id, tried),
    )


def _in_hub(work: Work, effect: InHub, call: StepCall) -> TryEnd:
    """
    Make the effect in a savepoint: what does not succeed leaves nothing, and its end is recorded all the same.

    What waits, or has waited for too long, keeps what it wrote: whom it has asked, and that nobody is asked any more.
    """
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


def _made_or_rolled_back(work: Work, effect: InHub, call: StepCall) -> TryEnd:
    with work.transaction() as savepoint:
        ended = effect.run(work, call)
        if not isinstance(ended, Done | Waiting | TimedOut):
            raise psycopg.Rollback(savepoint)
    return ended


def _make(called: _Called) -> _Made:
    """Make the call of a try, while no transaction is open."""
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
    return _Made(called, ended)


def _keep_end(store: Store, made: _Made) -> None:
    """
    Record the end of a call by itself: what was to follow in the same transaction failed, and must not take it along.

    The first error is the one that counts: if this fails too, the try stays open, and is made again with its key.
    """
    called = made.called
    try:
        with store.transaction() as work:
            execution = repository.lock(work, called.execution.execution_id)
            execution, _ = _end(work, execution, called.opened, made.ended)
            repository.save(work, execution)
    except Exception as error:  # noqa: BLE001  as above
        log.warning("The end of %s of %s could not be recorded: %s", called.call.step, called.call.subject, error)


def _end(
    work: Work, execution: Execution, opened: _Opened, ended: TryEnd, *, took: timedelta | None = None
) -> tuple[Execution, StepProgress | None]:
    """
    Record the end of a try with what belongs to it; return None for it if another process has tried the step since.

    A try that *took* its time in this transaction is not recorded yet.
    """
    tried, on_change = opened.tried, opened.flow.on_change
    state, error = _outcome(ended)
    output = ended.output if isinstance(ended, Done) else None
    message = None if isinstance(ended, Done) else ended.message
    wait_s = _wait_s(opened.step.retry_of(tried.direction), tried, error, ended)
    end = StepEnd(state, output, message, wait_s, error, counts=not isinstance(ended, Postponed))
    known = (
        repository.end(work, execution, tried, end)
        if took is None
        else repository.made(work, execution, tried, end, took)
    )
    if known is None:
        return execution, None
    on_change(work, execution, StepEnded(tried.step, tried.direction, state, output, message))
    left_alone = _LEFT_ALONE[execution.driver] if execution.state not in ENDED else timedelta(0)
    return replace(execution, next_at=known.next_at or execution.read_at + left_alone), known


def _wait_s(rules: Retry, tried: StepProgress, error: StepError | None, ended: TryEnd) -> float | None:
    """Say after how many seconds a step is tried again; None if it is not, by itself."""
    match ended:
        case Waiting(again_in_s=exactly_s) if exactly_s is not None:
            return exactly_s
        case Failed(retry_in_s=asked_s) | Postponed(again_in_s=asked_s):
            pass
        case _:
            asked_s = None
    if not isinstance(ended, Waiting | Postponed) and error not in rules.errors:
        return None
    # Random, so that a hundred orders that failed together do not come back together.
    return rules.wait_s(max(tried.tried, 1), asked_s) * random.uniform(0.75, 1.25)  # noqa: S311  no secret


def _outcome(ended: TryEnd) -> tuple[StepState, StepError | None]:
    match ended:
        case Done():
            return StepState.DONE, None
        case Refused(by=by):
            return StepState.REFUSED, StepError.DECLINED if by is RefusedBy.DECISION else StepError.REFUSED
        case Failed() | Postponed():
            return StepState.FAILED, StepError.FAILED
        case TimedOut():
            return StepState.FAILED, StepError.TIMEOUT
        case Unknown():
            return StepState.UNKNOWN, StepError.UNKNOWN
        case Waiting():
            return StepState.WAITING, None
