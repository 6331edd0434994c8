"""What events do to declared workflows: they start executions, and are heard by steps that wait for them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crossdock.core.errors import BadRequest
from crossdock.db.database import Work
from crossdock.events import store as event_store
from crossdock.events.model import Event
from crossdock.integrations.actions.model import Document
from crossdock.workflows.declared import conditions, executions, mappings, repository
from crossdock.workflows.declared.events import SOURCE, WORKFLOW_NOT_STARTED, WORKFLOW_REQUESTED, WorkflowNotStarted
from crossdock.workflows.declared.executions import Flows, subject_of
from crossdock.workflows.declared.flow import flow_name
from crossdock.workflows.declared.model import Listen, Trigger, Workflow
from crossdock.workflows.model import Driver

#: The name of the subscriber.
WORKFLOW_TRIGGERS = "workflow_triggers"
_ACTOR, _BY_WEBHOOK = "event", "webhook"


class WorkflowTriggers:
    """Starts the workflows whose trigger an event is, and gives it to the steps that wait for it."""

    def __init__(self, flows: Flows) -> None:
        self._flows = flows

    def apply(self, work: Work, events: Sequence[Event]) -> None:
        """
        Start one execution for each event and workflow, whatever its number of deliveries.

        A workflow that does not take the params that its trigger gives holds none of the others: an event says so, which is
        a dead letter of `failed_executions`.
        """
        seen = [(event, document_of(event)) for event in events]
        executions.hear(work, [(event.at, document) for event, document in seen])
        deployed = [
            (self._flows.of(work, flow_name(name, version)).workflow, since)
            for name, version, since in repository.deployed_since(work)
        ]
        for event, document in seen:
            for workflow, since in deployed:
                trigger = _trigger_of(workflow, document) if event.at >= since else None
                if trigger is not None:
                    self._start(work, workflow, trigger, event, document)

    def _start(self, work: Work, workflow: Workflow, trigger: Trigger, event: Event, seen: Document) -> None:
        params: dict[str, Any] = {}
        actor = _ACTOR
        if trigger.webhook is not None:
            # What its sender wrote, without what the hub put around it.
            seen, actor = {**seen, "data": seen["data"]["body"]}, _BY_WEBHOOK
        run_id = f"event__{event.id}"
        try:
            params = _given(workflow, mappings.mapped(dict(trigger.given), {"event": seen}))
            # An event waits for no run of a DAG.
            executions.execute(work, self._flows, workflow.id, params, run_id=run_id, driver=Driver.EVENTS, actor=actor)
        except BadRequest as error:
            refused = WorkflowNotStarted(
                workflow_id=workflow.id,
                version=workflow.version,
                run_id=run_id,
                event_id=event.id,
                event_type=event.type,
                message=str(error),
                params=params,
            )
            # Once, however often the event is delivered.
            subject = subject_of(workflow.id, run_id)
            said = WORKFLOW_NOT_STARTED.event(
                refused, source=SOURCE, subject=subject, time=event.time, event_id=subject
            )
            event_store.receive(work, said)


def _given(workflow: Workflow, params: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what the event does not have, where there is a default for it, and the param does not take null."""

    def is_default(name: str) -> bool:
        schema = workflow.params.get(name, {})
        types = schema.get("type")
        return "default" in schema and types is not None and types != "null" and "null" not in types

    return {name: value for name, value in params.items() if value is not None or not is_default(name)}


def document_of(event: Event) -> dict[str, Any]:
    """Show an event as conditions and mappings see it."""
    return {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "time": event.time.isoformat(),
        "data": json.loads(event.data),
    }


def event_types(workflow: Workflow) -> set[str]:
    """Name the types of the events that start a workflow, or that its steps wait for."""
    return set(_event_types(workflow))


def _event_types(workflow: Workflow) -> Iterator[str]:
    for trigger in workflow.triggers:
        if trigger.event is not None:
            yield trigger.event
        if trigger.webhook is not None:
            yield WORKFLOW_REQUESTED.name
    for step in workflow.steps():
        if isinstance(step.does, Listen):
            yield step.does.event


def _is_for(webhook: str, seen: Document) -> bool:
    return bool(seen["type"] == WORKFLOW_REQUESTED.name and seen["data"]["webhook"] == webhook)


def _trigger_of(workflow: Workflow, seen: Document) -> Trigger | None:
    """Find the first trigger that takes an event. A condition that cannot be evaluated for it takes it not."""
    for trigger in workflow.triggers:
        if trigger.webhook is not None and _is_for(trigger.webhook, seen):
            return trigger
        if trigger.event != seen["type"]:
            continue
        try:
            if trigger.where is None or conditions.is_true(trigger.where, {"event": seen}):
                return trigger
        except BadRequest:
            continue
    return None
