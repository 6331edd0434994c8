"""Use cases of executions of declared workflows: start one, see how far it is, cancel it, fix and retry it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from msgspec.structs import replace

from crossdock.core.errors import BadRequest, Conflict, NotFound, Terminal
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Store, Work
from crossdock.events.model import Position
from crossdock.integrations.actions.model import Document
from crossdock.observability import audit, decisions
from crossdock.observability.decisions import Decision, DecisionKind
from crossdock.workflows import repository as engine_repository
from crossdock.workflows import service as engine
from crossdock.workflows.declared import answers, conditions, listeners_repository, repository
from crossdock.workflows.declared.flow import DeclaredFlow, flow_name, retried, version_in
from crossdock.workflows.declared.model import Call, Workflow
from crossdock.workflows.declared.route import Shown, ShownState, step_of
from crossdock.workflows.model import (
    UNRESOLVED,
    Driver,
    Execution,
    ExecutionState,
    StepProgress,
    StepState,
    progress_of,
)


class State(StrEnum):
    """How far an execution is."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    #: A step has failed for good: what was done is undone, or a person has to decide.
    FAILED = "FAILED"
    #: Somebody had it undone.
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, kw_only=True)
class StepStatus:
    """How far a step is. One in a loop or a handler has one for each time that it is made."""

    step: str
    #: The step, and which one of several: `write[3]`, or `tell@check` for a step that handles what `check` could not do.
    name: str
    state: ShownState
    retries: int
    message: str | None
    began_at: datetime | None
    ended_at: datetime | None
    next_try_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far an execution is, and each of its steps."""

    execution: Execution
    workflow_id: str
    version: int
    run_id: str
    state: State
    steps: tuple[StepStatus, ...]
    #: Those that the engine made, and their undo, in the order in which they began.
    made: tuple[StepProgress, ...] = ()
    #: Of one that is undone: the steps that wrote, and stay, because they have no undo.
    not_undone: tuple[str, ...] = ()


class Flows(Protocol):
    """The flows of declared workflows."""

    def of(self, work: Work, name: str) -> DeclaredFlow:
        """
        Find a flow by its name.

        Raises:
            NotFound: there is no such version.

        """


#: What did something, or may have.
_MAY_HAVE_EFFECT = frozenset({*UNRESOLVED, StepState.DONE})


class StepFailedForGood(Terminal):
    """A step of a workflow has failed, and its retries are used up. Its dead letter is fixed and replayed."""


class NotStarted(Terminal):
    """An event gives a workflow params that it does not take. Its dead letter is fixed and replayed."""


def subject_of(workflow_id: str, run_id: str) -> str:
    """Name what an execution is about: one run of a workflow, which is also the run of its DAG."""
    return f"{workflow_id}/{run_id}"


def execute(
    work: Work,
    flows: Flows,
    workflow_id: str,
    params: Mapping[str, Any],
    *,
    run_id: str,
    driver: Driver,
    actor: str,
) -> Execution:
    """
    Start an execution of the version that is deployed. A second call with one *run_id* returns the first one's execution.

    Raises:
        NotFound: there is no such workflow.
        Conflict: no version of it is deployed.
        BadRequest: a param is missing, not declared, or not valid.

    """
    subject = subject_of(workflow_id, run_id)
    if known := engine_repository.of_subject(work, subject):
        return known[0]
    flow = flows.of(work, flow_name(workflow_id, _deployed(work, workflow_id)))
    given = params_of(flow.workflow, params)
    started, _ = engine.start(work, flow, subject, given, driver=driver, actor=actor, is_woken=False)
    detail = {"workflow": workflow_id, "version": flow.workflow.version}
    audit.add(work, actor=actor, act="workflow.execute", subject=f"execution/{started.execution_id}", detail=detail)
    return started


def params_of(workflow: Workflow, params: Mapping[str, Any]) -> dict[str, Any]:
    """
    Validate params, and fill in the defaults.

    Raises:
        BadRequest: one is missing, not declared, or not valid; the message names it, never its value.

    """
    given = {
        **{name: schema["default"] for name, schema in workflow.params.items() if "default" in schema},
        **params,
    }
    if missing := [name for name in workflow.params if name not in given]:
        unknown = [name[:64] for name in given if name not in workflow.params][:5]
        others = f". It has no {', '.join(unknown)}" if unknown else ""
        raise BadRequest(f"Params of {workflow.id} are missing: {', '.join(missing)}{others}")
    return answers.params_of(given, workflow)


def status(work: Work, flows: Flows, execution_id: str) -> Status:
    """
    See how far an execution is.

    Raises:
        NotFound: there is no such execution.

    """
    execution = engine_repository.get(work, execution_id)
    flow = _flow_of(work, flows, execution)
    made = engine_repository.steps_of(work, execution_id)
    shown = flow.way(execution, progress_of(made)).shown
    state = state_of(execution)
    reached = {each.step for each in shown}
    #: What a way that has ended did not come to, it will not come to.
    goes_on = execution.state is ExecutionState.RUNNING
    rest = ShownState.PENDING if goes_on else ShownState.SKIPPED
    never = tuple(Shown(step.id, step.id, rest) for step in flow.workflow.steps() if step.id not in reached)
    return Status(
        execution=execution,
        workflow_id=flow.workflow.id,
        version=flow.workflow.version,
        run_id=run_id_of(execution),
        state=state,
        steps=tuple(map(_step_status, (*shown, *never))),
        made=tuple(made),
        not_undone=_not_undone(flow, execution, shown),
    )


def _not_undone(flow: DeclaredFlow, execution: Execution, shown: Sequence[Shown]) -> tuple[str, ...]:
    if execution.state not in (ExecutionState.UNDOING, ExecutionState.UNDONE) and execution.cancelled_by is None:
        return ()
    lasting = {
        step.id
        for step in flow.workflow.steps()
        if isinstance(step.does, Call) and step.does.undo is None and flow.effects.writes(flow.workflow, step)
    }
    return tuple(each.name for each in shown if each.step in lasting and each.state is ShownState.SUCCESS)


def state_of(execution: Execution) -> State:
    """Say how far an execution is, in one word."""
    match execution.state:
        case ExecutionState.COMPLETED:
            return State.COMPLETED
        case ExecutionState.UNDONE:
            return State.CANCELLED if execution.cancelled_by is not None else State.FAILED
        case _:
            return State.RUNNING if execution.waits_for is None else State.FAILED


def run_id_of(execution: Execution) -> str:
    """Read the ID of the run of the workflow's DAG."""
    return execution.subject.partition("/")[2]


def cancel(store: Store, execution_id: str, *, reason: str, actor: str) -> Execution:
    """
    Have everything undone that an execution did, also one that has completed.

    Raises:
        NotFound: there is no such execution.

    """
    _refuse_other(store, execution_id)
    cancelled = engine.cancel(store, execution_id, reason=reason, actor=actor)
    go_on_without_run(store, execution_id)
    return cancelled


def retry(
    store: Store,
    flows: Flows,
    execution_id: str,
    *,
    newest: bool,
    params: Mapping[str, Any] | None,
    reason: str,
    actor: str,
) -> Execution:
    """
    Retry the step for which an execution failed; return the execution that goes on.

    One that was undone begins anew, once, as an execution of its own. One that waits goes on where it is: all that is done
    stays done.

    Args:
        store: The hub's database.
        flows: The flows of declared workflows.
        execution_id: The execution.
        newest: Go on with the version that is deployed, not with the one that it began with.
        params: Other params than it was given; None for the same.
        reason: Why, in the person's words.
        actor: The person.

    Raises:
        NotFound: there is no such execution.
        Conflict: it has not failed; or with the other version or params, something that it did would have no place in it.
        BadRequest: a param is not valid.

    """
    with store.transaction() as work:
        execution = engine_repository.lock(work, execution_id)
        if execution.state is ExecutionState.COMPLETED:
            raise Conflict(f"{execution_id} is completed: there is nothing to retry")
        if state_of(execution) is State.CANCELLED:
            raise Conflict(f"{execution_id} was cancelled by {execution.cancelled_by}: execute the workflow anew")
        if execution.state is ExecutionState.UNDONE:
            return _begin_anew(work, flows, execution, newest=newest, params=params, actor=actor)
        if newest or params is not None:
            _change(work, flows, execution, newest=newest, params=params)
        # In the same transaction: otherwise params could change under an execution that goes on already.
        found = engine.retry(store, execution_id, reason=reason, actor=actor)
        engine_repository.go_on_by_events(work, execution_id, "")
    return found


def retried_as(work: Work, execution: Execution) -> Execution | None:
    """Find the execution that took the place of one that was undone; None if nobody has retried it."""
    workflow_id = execution.subject.partition("/")[0]
    found = engine_repository.of_subject(work, _anew(workflow_id, execution))
    return found[0] if found else None


def _anew(workflow_id: str, execution: Execution) -> str:
    """Name the subject of its ID, so that two who retry it, or replay its dead letter, begin one."""
    return subject_of(workflow_id, f"retry__{execution.execution_id}")


def _begin_anew(
    work: Work,
    flows: Flows,
    execution: Execution,
    *,
    newest: bool,
    params: Mapping[str, Any] | None,
    actor: str,
) -> Execution:
    flow = _flow_of(work, flows, execution)
    subject = _anew(flow.workflow.id, execution)
    if known := engine_repository.of_subject(work, subject):
        return known[0]
    if newest:
        flow = flows.of(work, flow_name(flow.workflow.id, _deployed(work, flow.workflow.id)))
    given = params_of(flow.workflow, execution.input if params is None else params)
    retried(work, execution, flow.workflow.id, flow.workflow.version)
    started, _ = engine.start(work, flow, subject, given, driver=Driver.EVENTS, actor=actor, is_woken=False)
    detail = {"workflow": flow.workflow.id, "version": flow.workflow.version, "in place of": execution.execution_id}
    audit.add(work, actor=actor, act="workflow.execute", subject=f"execution/{started.execution_id}", detail=detail)
    return started


def _change(work: Work, flows: Flows, execution: Execution, *, newest: bool, params: Mapping[str, Any] | None) -> None:
    """Have a locked execution go on with another version or other params, if all that it did has its place there, unchanged."""
    if execution.waits_for is None or execution.state is ExecutionState.UNDOING:
        raise Conflict(
            f"{execution.execution_id} is at work: its params and its version are changed when a step has failed"
        )
    flow = before = _flow_of(work, flows, execution)
    if newest:
        flow = flows.of(work, flow_name(flow.workflow.id, _deployed(work, flow.workflow.id)))
    given = params_of(flow.workflow, execution.input if params is None else params)
    progress = engine_repository.how_far(work, execution.execution_id)
    way = flow.way(replace(execution, input=given, flow=flow.name), progress, with_inputs=True)
    was = before.way(execution, progress, with_inputs=True)
    has_place = {step.name for step in way.route.steps}
    # What certainly had no effect may change.
    done = {step for (step, _), row in progress.items() if row.state in _MAY_HAVE_EFFECT}
    lost = {step for step in done if step not in has_place or way.inputs.get(step) != was.inputs.get(step)}
    if lost:
        raise Conflict(
            f"With that, {execution.execution_id} would not have done {', '.join(sorted(lost))} as it did. "
            "Retry it as it is, or cancel it and execute the workflow anew"
        )
    engine_repository.change(work, execution, flow.name, given)


def decide(store: Store, decision: Decision, choice: str, reason: str, actor: str) -> None:
    """
    Answer a question that a workflow asks, and let it go on.

    Raises:
        AlreadyDecided: somebody has decided before.

    """
    execution_id, _, step = decision.subject.partition("/")
    with store.transaction() as work:
        engine_repository.lock(work, execution_id)
        decisions.refuse_decided(work, decision.decision_id)
        decisions.record(work, DecisionKind.WORKFLOW, decision.subject, choice, actor=actor)
        detail = {"reason": reason, "step": step_of(step), "choice": choice}
        audit.add(work, actor=actor, act="execution.decide", subject=f"execution/{execution_id}", detail=detail)
        engine_repository.go_on_by_events(work, execution_id, step)


def go_on_without_run(store: Store, execution_id: str) -> None:
    """Have an execution go on at once, and without a run of its DAG: there is none, or it may have ended."""
    with store.transaction() as work:
        engine_repository.go_on_by_events(work, execution_id, "")


def _deployed(work: Work, workflow_id: str) -> int:
    found = repository.deployments(work, [workflow_id])
    if found:
        return found[0].version
    if not repository.versions(work, workflow_id):
        raise NotFound(f"There is no workflow {workflow_id!r}")
    raise Conflict(f"No version of {workflow_id} is deployed", hint=Hint(HintId.DEPLOY_WORKFLOW, workflow_id))


def _flow_of(work: Work, flows: Flows, execution: Execution) -> DeclaredFlow:
    if version_in(execution.flow) is None:
        raise NotFound(f"There is no execution of a workflow {execution.execution_id!r}")
    return flows.of(work, execution.flow)


def _refuse_other(store: Store, execution_id: str) -> None:
    with store.transaction() as work:
        execution = engine_repository.get(work, execution_id)
    if version_in(execution.flow) is None:
        raise NotFound(f"There is no execution of a workflow {execution_id!r}")


def _step_status(shown: Shown) -> StepStatus:
    row = shown.undo if shown.undo is not None and shown.undo.log else shown.act
    return StepStatus(
        step=shown.step,
        name=shown.name,
        state=shown.state,
        retries=_retries(shown.act),
        message=row.message if row is not None else None,
        began_at=shown.act.began_at if shown.act is not None else None,
        ended_at=row.ended_at if row is not None else None,
        next_try_at=row.next_at if row is not None else None,
    )


def _retries(row: StepProgress | None) -> int:
    """How often a step was tried after its first time."""
    tries = [tried for tried in row.log if tried.state is not StepState.WAITING] if row is not None else []
    return max(len(tries) - 1, 0)


def hear(work: Work, events: Sequence[tuple[Position, Document]]) -> int:
    """Give events (`{id, type, source, subject, time, data}`) to the steps that wait for them; return how many were waiting."""
    heard = 0
    for at, event in events:
        for listener in listeners_repository.waiting(work, [event["type"]]):
            if at < listener.since:
                continue
            if listener.condition is None or _is_heard(listener.condition, {**listener.scope, "event": event}):
                listeners_repository.hear(work, listener, event)
                engine_repository.go_on_by_events(work, listener.execution_id, listener.step)
                heard += 1
    return heard


def _is_heard(condition: str, scope: Mapping[str, Any]) -> bool:
    """Whether the condition holds; one that cannot be evaluated for an event does not: it waits for one that it can."""
    try:
        return conditions.is_true(condition, scope)
    except BadRequest:
        return False


def find(
    work: Work,
    *,
    workflow_id: str | None,
    state: State | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[Execution]:
    """
    List executions, the newest first: of all workflows or of one, in any state or in one; after a place in the list.

    Raises:
        NotFound: there is no such workflow.

    """
    flows = flow_names(work, workflow_id) if workflow_id else None
    return engine_repository.of_flows(work, flows, state=state, before=before, limit=limit)


def flow_names(work: Work, workflow_id: str) -> list[str]:
    """
    Name the flows of all versions of a workflow.

    Raises:
        NotFound: there is no such workflow.

    """
    known = repository.versions(work, workflow_id)
    if not known:
        raise NotFound(f"There is no workflow {workflow_id!r}")
    return [flow_name(workflow_id, each.version) for each in known]


def execution_id_of(store: Store, workflow_id: str, run_id: str) -> str:
    """
    Find the execution of a run.

    Raises:
        NotFound: it has none.

    """
    with store.transaction() as work:
        found = engine_repository.of_subject(work, subject_of(workflow_id, run_id))
    if not found:
        raise NotFound(f"The run {run_id} of {workflow_id} has no execution")
    return found[0].execution_id
