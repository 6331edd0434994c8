"""What a run of a workflow's DAG does: it starts its execution, makes each step, and finishes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from crossdock.app.workflows import Calls, DeclaredFlows
from crossdock.core.errors import NotFound, Transient
from crossdock.db.database import Work
from crossdock.workflows import repository
from crossdock.workflows import service as engine
from crossdock.workflows.declared import executions
from crossdock.workflows.declared.executions import StepFailedForGood
from crossdock.workflows.declared.route import Shown, ShownState, Way, step_of
from crossdock.workflows.model import CANCELLED_BY_FLOW, Driver, Execution, ExecutionState, StepState

#: What waits is looked at after so long at the latest, and the longer it has waited, the less often.
_LONGEST_LOOK = timedelta(minutes=5)
_SHORTEST_LOOK = timedelta(seconds=2)


class StepNotThere(Transient):
    """A step did not succeed, and is tried again at its time."""


@dataclass(frozen=True)
class Made:
    """The step is behind the execution."""


@dataclass(frozen=True)
class Later:
    """It waits until then."""

    at: datetime


@dataclass(frozen=True)
class NotMade:
    """The execution does not make the step."""

    why: str


class WorkflowDriver:
    """The flows of declared workflows, and what their steps need, for one thread. It is opened at its first use."""

    def __init__(self, open_calls: Callable[[], Calls]) -> None:
        self._open_calls = open_calls
        self._calls: Calls | None = None
        self.flows = DeclaredFlows(self.calls)

    def calls(self) -> Calls:
        """Give the database and the clients."""
        if self._calls is None:
            self._calls = self._open_calls()
        return self._calls

    def close(self) -> None:
        """Close what is open. Afterwards it can be used again."""
        if self._calls is not None:
            self._calls.store.close()
            self._calls = None


class _StepsOf(Container[str]):
    """The steps of the engine that some steps of a definition make: in loops, and in the handlers of what they could not do."""

    def __init__(self, steps: Collection[str]) -> None:
        self._steps = frozenset(steps)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(step_of(part) in self._steps for part in name.split("@"))


def begin(
    driver: WorkflowDriver, workflow_id: str, run_id: str, params: Mapping[str, Any], *, actor: str
) -> Made | Later | NotMade:
    """
    Start the execution of a run, unless a request has.

    Raises:
        Conflict: no version of the workflow is deployed.
        BadRequest: a param is not valid.

    """
    with driver.calls().store.transaction() as work:
        started = executions.execute(
            work, driver.flows, workflow_id, params, run_id=run_id, driver=Driver.DAG, actor=actor
        )
        repository.add_run(work, run_id, [started.execution_id])
    return Made()


def make_step(driver: WorkflowDriver, workflow_id: str, run_id: str, makes: Collection[str]) -> Made | Later | NotMade:
    """
    Make a step, and those of its loop or handler.

    Raises:
        StepNotThere: it did not succeed; calling it again after its wait tries it again.
        StepFailedForGood: it has failed, and no handler takes it.
        StoreUnavailable: the hub's database failed. Calling it again is safe.

    """
    store, within = driver.calls().store, _StepsOf(makes)
    with store.transaction() as work:
        execution = _execution_of(work, workflow_id, run_id)
    execution = engine.advance(store, driver.flows, execution.execution_id, within=within, undoes=False)
    way = _way(driver, execution)
    mine = [each for each in way.shown if each.name in within]
    if not mine and way.route.next and execution.state is ExecutionState.RUNNING:
        # What is in front has no task any more: the handler of a case or a branch, or a step that only this version has.
        execution = engine.advance(store, driver.flows, execution.execution_id, undoes=False)
        way = _way(driver, execution)
        mine = [each for each in way.shown if each.name in within]
        if not mine and way.route.next and execution.state is ExecutionState.RUNNING and execution.waits_for is None:
            return _at(execution, None)
    if wrong := next((each for each in mine if each.state is ShownState.PERMANENTLY_FAILED), None):
        raise StepFailedForGood(f"{wrong.name}: {wrong.act.message if wrong.act else execution.reason}")
    if execution.state in (ExecutionState.UNDOING, ExecutionState.UNDONE):
        if execution.cancelled_by == CANCELLED_BY_FLOW:
            # A failure that a handler took is part of the way to that end.
            if mine and all(each.state in (ShownState.SUCCESS, ShownState.FAILED) for each in mine):
                return Made()
        elif any(each.state is ShownState.FAILED for each in mine):
            raise StepFailedForGood(str(execution.reason))
        return NotMade(f"the execution is undone: {execution.reason}")
    if open_step := next(filter(_is_open, mine), None):
        return _waits(execution, open_step)
    if all(each.state is ShownState.SKIPPED for each in mine):
        # Also where the way went by it, or this version has no such step: what is before it has ended.
        return NotMade("this execution does not make the step")
    return Made()


def _way(driver: WorkflowDriver, execution: Execution) -> Way:
    with driver.calls().store.transaction() as work:
        progress = repository.how_far(work, execution.execution_id)
    return driver.flows[execution.flow].way(execution, progress)


def finish(driver: WorkflowDriver, workflow_id: str, run_id: str) -> Made | Later | NotMade:
    """
    Make what is left of an execution, and undo what has to be undone.

    Raises:
        StepFailedForGood: it was not started; or it has failed, and what was done is undone; or it waits for a person.
        StoreUnavailable: the hub's database failed. Calling it again is safe.

    """
    store = driver.calls().store
    with store.transaction() as work:
        try:
            execution = _execution_of(work, workflow_id, run_id)
        except NotFound:
            raise StepFailedForGood("The execution was not started: the log of the first task says why") from None
    execution = engine.advance(store, driver.flows, execution.execution_id)
    if execution.state is ExecutionState.COMPLETED:
        return Made()
    if execution.state is ExecutionState.UNDONE:
        if execution.cancelled_by == CANCELLED_BY_FLOW:
            # An end that its definition foresees: nothing is to be fixed.
            return Made()
        raise StepFailedForGood(f"All that was done is undone. {execution.reason}")
    if execution.waits_for is not None:
        raise StepFailedForGood(
            f"A person has to decide about {execution.waits_for.partition(':')[0]}: look at the decisions and the dead letters"
        )
    return _at(execution, None)


def _execution_of(work: Work, workflow_id: str, run_id: str) -> Execution:
    found = repository.of_subject(work, executions.subject_of(workflow_id, run_id))
    if not found:
        raise NotFound(f"The run {run_id} of {workflow_id} has no execution: its task `begin` starts it")
    return found[0]


def _is_open(step: Shown) -> bool:
    """Whether a step is at work, or comes next. What only holds other steps is not: those have tasks of their own, or are open."""
    return step.state is ShownState.PENDING or (step.state is ShownState.RUNNING and step.act is not None)


def _waits(execution: Execution, step: Shown) -> Later:
    """
    Say when a step goes on.

    Raises:
        StepNotThere: it did not succeed: the task shows it, and is retried when the step is.

    """
    if step.act is not None and step.act.state in (StepState.FAILED, StepState.UNKNOWN) and step.act.next_at:
        left_s = (step.act.next_at - execution.read_at).total_seconds()
        raise StepNotThere(f"{step.name}: {step.act.message}", retry_in_s=max(left_s, 0.0))
    return _at(execution, step.act.began_at if step.act is not None else None)


def _at(execution: Execution, since: datetime | None) -> Later:
    """Look when it is due, or before: somebody may answer, and then it goes on without this task."""
    waited = execution.read_at - (since or execution.created_at)
    look = min(max(waited / 10, _SHORTEST_LOOK), _LONGEST_LOOK)
    due = execution.next_at - execution.read_at if execution.next_at is not None else look
    return Later(execution.read_at + min(max(due, _SHORTEST_LOOK / 2), look))
