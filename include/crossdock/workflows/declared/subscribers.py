"""Reactions to what happens to executions: one that failed, or could not start, is a dead letter, whose replay retries it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import msgspec

from crossdock.core.log import logger
from crossdock.db.database import Store, Work
from crossdock.events.dead_letters import repository as dead_letters
from crossdock.events.model import Event
from crossdock.workflows.declared import executions
from crossdock.workflows.declared.events import (
    WORKFLOW_ENDED,
    WORKFLOW_FAILED,
    WORKFLOW_NOT_STARTED,
    WorkflowFailed,
    WorkflowNotStarted,
)
from crossdock.workflows.declared.executions import Flows, NotStarted, State, Status, StepFailedForGood
from crossdock.workflows.model import Driver

log = logger(__name__)

#: The name of the subscriber.
FAILED_EXECUTIONS = "failed_executions"
TYPES_OF_EXECUTIONS = (WORKFLOW_FAILED.name, WORKFLOW_ENDED.name, WORKFLOW_NOT_STARTED.name)

_decode = msgspec.json.Decoder(WorkflowFailed).decode
_decode_not_started = msgspec.json.Decoder(WorkflowNotStarted).decode


class FailedExecutions:
    """Turns an execution that failed into a dead letter, and retries it when that is replayed."""

    def __init__(self, open_store: Callable[[], AbstractContextManager[Store]], flows: Flows) -> None:
        self._open_store, self._flows = open_store, flows

    def deliver(self, events: Sequence[Event]) -> None:
        """
        Refuse what failed, so that it waits for a person; retry what a person replays. Idempotent.

        Raises:
            StepFailedForGood: it is delivered for the first time.
            NotStarted: the same, of one that could not start.
            HubError: it cannot be retried, or started, with these params.

        """
        # One connection for all: each execution that ends is an event.
        with self._open_store() as store:
            for event in events:
                self._deliver(store, event)

    def _deliver(self, store: Store, event: Event) -> None:
        if event.type == WORKFLOW_FAILED.name:
            self._retry(store, event)
            return
        with store.transaction() as work:
            if event.type == WORKFLOW_NOT_STARTED.name:
                self._start(work, event)
            elif event.type == WORKFLOW_ENDED.name:
                # It was retried, or cancelled, otherwise than by a replay.
                dead_letters.supersede(work, FAILED_EXECUTIONS, WORKFLOW_FAILED.name, by=event)

    def _start(self, work: Work, event: Event) -> None:
        """Start what an event could not start, once, with the params that a person has fixed."""
        found = _decode_not_started(event.data)
        if not dead_letters.waits_for_person(work, FAILED_EXECUTIONS, event):
            raise NotStarted(
                f"{found.workflow_id} was not started by event {found.event_id} ({found.event_type}): {found.message}"
            )
        executions.execute(
            work,
            self._flows,
            found.workflow_id,
            found.params,
            run_id=found.run_id,
            driver=Driver.EVENTS,
            actor="replay",
        )

    def _retry(self, store: Store, event: Event) -> None:
        failed = _decode(event.data)
        with store.transaction() as work:
            is_replay = dead_letters.waits_for_person(work, FAILED_EXECUTIONS, event)
            now = executions.status(work, self._flows, failed.execution_id)
        if not is_replay:
            raise StepFailedForGood(f"{failed.workflow_id}: {failed.step} failed for good: {failed.message}")
        if not _is_of_this_failure(now, failed):
            # Somebody has retried it otherwise, or this runs a second time.
            log.info("%s is %s: its failure at %s is over", failed.execution_id, now.state, failed.step)
            return
        same = failed.params == dict(now.execution.input)
        executions.retry(
            store,
            self._flows,
            failed.execution_id,
            newest=False,
            params=None if same else failed.params,
            reason=f"dead letter of event {event.id}",
            actor="replay",
        )


def _is_of_this_failure(now: Status, failed: WorkflowFailed) -> bool:
    """Whether the execution still stands where it failed."""
    if now.state is not State.FAILED:
        return False
    waits_for = now.execution.waits_for
    return waits_for is None or waits_for.partition(":")[0] == failed.step
