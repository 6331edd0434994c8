"""What happens to executions of declared workflows: one that needs a fix, and one that is well."""

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


WORKFLOW_FAILED = EventType(
    "crossdock.workflow.failed", WorkflowFailed, key="execution_id", personal=frozenset({"params"})
)
WORKFLOW_ENDED = EventType("crossdock.workflow.ended", WorkflowEnded, key="execution_id")
EVENT_TYPES = {found.name: found for found in (WORKFLOW_FAILED, WORKFLOW_ENDED)}
