"""A declared workflow as a flow of the step engine: one version, which an execution keeps to its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from crossdock.db.database import Work
from crossdock.events import store as event_store
from crossdock.events.event_type import EventType
from crossdock.events.model import NewEvent
from crossdock.workflows import repository
from crossdock.workflows.declared.effects import Effects
from crossdock.workflows.declared.events import (
    SOURCE,
    WORKFLOW_ENDED,
    WORKFLOW_FAILED,
    WorkflowEnded,
    WorkflowFailed,
)
from crossdock.workflows.declared.model import Workflow
from crossdock.workflows.declared.route import FinishedItems, Way, way_of
from crossdock.workflows.machine import error_of
from crossdock.workflows.model import (
    Change,
    Direction,
    Execution,
    ExecutionState,
    Finished,
    Memo,
    NeedsPerson,
    Progress,
    Route,
    StepError,
    StepProgress,
)

_PREFIX = "workflow."
#: The name of the finished items in a memo.
_FINISHED = "finished items"


def flow_name(workflow_id: str, version: int) -> str:
    """Name the flow of a version."""
    return f"{_PREFIX}{workflow_id}.v{version}"


def version_in(flow: str) -> tuple[str, int] | None:
    """Read the workflow and the version from the name of a flow; None if it is not that of a declared workflow."""
    workflow_id, _, version = flow.removeprefix(_PREFIX).rpartition(".v")
    return (workflow_id, int(version)) if flow.startswith(_PREFIX) and version.isdigit() else None


@dataclass(frozen=True)
class DeclaredFlow:
    """One version of a declared workflow."""

    workflow: Workflow
    effects: Effects

    @property
    def name(self) -> str:
        return flow_name(self.workflow.id, self.workflow.version)

    @property
    def timeout(self) -> timedelta | None:
        limit_s = self.workflow.timeout_s
        return timedelta(seconds=limit_s) if limit_s is not None else None

    def way(self, execution: Execution, progress: Progress, *, with_inputs: bool = False) -> Way:
        """Find how far each step is; *with_inputs*, also what it is given."""
        return way_of(self.workflow, self.effects, execution, progress, with_inputs=with_inputs)

    def route(self, execution: Execution, progress: Progress, memo: Memo | None = None) -> Route:
        finished = self._finished_items(execution, memo) if memo is not None else None
        return way_of(self.workflow, self.effects, execution, progress, finished=finished).route

    def _finished_items(self, execution: Execution, memo: Memo) -> FinishedItems:
        """Find the items of loops that need no second look: those that were found with this version and these params."""
        made_for = (self.name, msgspec.json.encode(execution.input))
        known, items = memo.get(_FINISHED, (made_for, {}))
        if known != made_for:
            items = {}
        memo[_FINISHED] = (made_for, items)
        found: FinishedItems = items
        return found

    def about(self, execution: Execution) -> str:
        return execution.execution_id

    def on_change(self, work: Work, execution: Execution, change: Change) -> None:
        """Say of an execution that somebody has to fix it, or that nobody has to any more."""
        match change:
            case NeedsPerson(direction=Direction.ACT, error=error) if error not in (None, StepError.UNKNOWN):
                self._failed(work, execution)
            case Finished(state=ExecutionState.UNDONE) if execution.cancelled_by is None:
                self._failed(work, execution)
            case Finished(state=state):
                ended = "COMPLETED" if state is ExecutionState.COMPLETED else "CANCELLED"
                data = WorkflowEnded(
                    execution_id=execution.execution_id,
                    workflow_id=self.workflow.id,
                    version=self.workflow.version,
                    state=ended,
                )
                _append(work, WORKFLOW_ENDED, execution, data)

    def _failed(self, work: Work, execution: Execution) -> None:
        last = self._failed_step(execution, repository.how_far(work, execution.execution_id))
        data = WorkflowFailed(
            execution_id=execution.execution_id,
            workflow_id=self.workflow.id,
            version=self.workflow.version,
            step=last.step if last is not None else "",
            error=(error_of(last) if last is not None else None) or StepError.TIMEOUT,
            message=(last.message if last is not None else None) or execution.reason or "",
            params=dict(execution.input),
        )
        _append(work, WORKFLOW_FAILED, execution, data)

    def _failed_step(self, execution: Execution, progress: Progress) -> StepProgress | None:
        """Find the step at which the way ended: no handler took its failure. None where the time was over."""
        rows = (progress.get((step.name, Direction.ACT)) for step in self.route(execution, progress).next)
        failed = [row for row in rows if row is not None and error_of(row) is not None]
        return max(failed, key=lambda row: row.ended_at or row.began_at, default=None)


def _append(work: Work, event_type: EventType, execution: Execution, data: msgspec.Struct) -> None:
    event = NewEvent(
        source=SOURCE,
        type=event_type.name,
        subject=execution.execution_id,
        time=datetime.now(UTC),
        partition_key=execution.execution_id,
        correlation_id=execution.execution_id,
        data=msgspec.json.encode(data).decode(),
    )
    event_store.append(work, [event])


def retried(work: Work, execution: Execution, workflow_id: str, version: int) -> None:
    """Say that another execution takes the place of one that failed: nobody has to fix it any more."""
    data = WorkflowEnded(execution_id=execution.execution_id, workflow_id=workflow_id, version=version, state="RETRIED")
    _append(work, WORKFLOW_ENDED, execution, data)
