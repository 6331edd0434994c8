"""What happens to executions of declared workflows: one that needs a fix, one that is well, and one that could not start."""

from __future__ import annotations

from typing import Any

import msgspec

from crossdock.events.event_type import EventType

SOURCE = "crossdock/workflows"


class WorkflowFailed(msgspec.Struct, frozen=True, kw_only=True):
    """A step of an execution has failed for good. Its dead letter is fixed and replayed."""

    execution_id: str
    workflow_id: str
    version: int
    step: str
    #: failed, timeout, refused or declined.
    error: str
    message: str
    #: What the execution was given. A replay takes it from here, as somebody may have edited it.
    params: dict[str, Any]


class WorkflowEnded(msgspec.Struct, frozen=True, kw_only=True):
    """An execution is completed, cancelled, or another takes its place: what failed before needs no fix any more."""

    execution_id: str
    workflow_id: str
    version: int
    #: COMPLETED, CANCELLED or RETRIED.
    state: str


class WorkflowNotStarted(msgspec.Struct, frozen=True, kw_only=True):
    """An event is a trigger of a workflow, and gives it params that it does not take. Its dead letter is fixed and replayed."""

    workflow_id: str
    version: int
    #: Names the start, so that it is made once: `event__` and the ID of the event.
    run_id: str
    event_id: str
    event_type: str
    #: What the workflow expects.
    message: str
    #: What the trigger gave, as far as it could be read. A replay takes it from here, as somebody may have edited it.
    params: dict[str, Any]


class WorkflowRequested(msgspec.Struct, frozen=True, kw_only=True):
    """A signed delivery came to the webhook of a workflow. It starts the workflow."""

    webhook: str
    #: As the sender wrote it: decoded JSON, or the fields of a form.
    body: Any


WORKFLOW_FAILED = EventType(
    "crossdock.workflow.failed", WorkflowFailed, key="execution_id", personal=frozenset({"params"})
)
WORKFLOW_ENDED = EventType("crossdock.workflow.ended", WorkflowEnded, key="execution_id")
WORKFLOW_NOT_STARTED = EventType(
    "crossdock.workflow.not_started", WorkflowNotStarted, key="run_id", personal=frozenset({"params"})
)
WORKFLOW_REQUESTED = EventType(
    "crossdock.workflow.requested", WorkflowRequested, key="webhook", personal=frozenset({"body"})
)
EVENT_TYPES = {
    found.name: found for found in (WORKFLOW_FAILED, WORKFLOW_ENDED, WORKFLOW_NOT_STARTED, WORKFLOW_REQUESTED)
}
