"""Hints for clients of the API: the next request after an error."""

from __future__ import annotations

from typing import NamedTuple, Self

from pydantic import BaseModel, Field

from crossdock.core.hints import Hint, HintId


class _Phrase(NamedTuple):
    message: str
    request: str


#: None where no request helps: a client cannot run a migration.
_PHRASES: dict[HintId, _Phrase | None] = {
    HintId.LIST_ATTEMPTS: _Phrase("List the calls without a known outcome", "GET /hub/v1/attempts"),
    HintId.TEST_WORKFLOW: _Phrase("Test it", "POST /hub/v1/workflows/{subject}/test"),
    HintId.DEPLOY_WORKFLOW: _Phrase("Deploy it", "PUT /hub/v1/workflows/{subject}/deploy"),
    HintId.LIST_DECISIONS: _Phrase("List what waits for a person", "GET /hub/v1/decisions"),
    HintId.LIST_ORDERS: _Phrase("List the orders that are not finished", "GET /hub/v1/orders?state=open"),
    HintId.SHOW_PAYMENT: _Phrase("See the payment", "GET /hub/v1/payments/{subject}"),
    HintId.LIST_PAYMENTS: _Phrase(
        "List the payments with a call without a known outcome", "GET /hub/v1/payments?unresolved=true"
    ),
    HintId.LIST_DEAD_LETTERS: _Phrase("List the dead letters", "GET /hub/v1/dead-letters"),
    HintId.LIST_QUARANTINE: _Phrase("List the quarantine", "GET /hub/v1/quarantine"),
    HintId.LIST_EVENTS: _Phrase("List the latest events", "GET /hub/v1/events?latest=true"),
    HintId.FOLLOW_AGAIN: _Phrase("Begin with the oldest event that is kept", "GET /hub/v1/events"),
    HintId.LIST_EVENT_TYPES: _Phrase("List event types with their JSON Schemas", "GET /hub/v1/event-types"),
    HintId.LIST_REPLAYS: _Phrase("List the replays", "GET /hub/v1/replays"),
    HintId.LIST_RUNS: _Phrase("List recent runs", "GET /hub/v1/runs"),
    HintId.LIST_INTEGRATIONS: _Phrase("List the integrations", "GET /hub/v1/integrations"),
    HintId.SHOW_DELIVERY: _Phrase("See the progress of each subscriber", "GET /hub/v1/delivery"),
    HintId.MIGRATE: None,
    HintId.SHOW_RUN: _Phrase("See that run", "GET /hub/v1/runs/{subject}"),
    HintId.SHOW_INTEGRATION: _Phrase("See the integration", "GET /hub/v1/integrations/{subject}"),
    HintId.CONNECT_DECLARED: _Phrase("Connect it", "POST /hub/v1/integrations"),
    HintId.ROTATE_CREDENTIALS: _Phrase("Send its credentials again", "POST /hub/v1/integrations/{subject}/rotate"),
    HintId.CHANGE_SETTINGS: _Phrase("Change its settings", "PATCH /hub/v1/integrations/{subject}"),
    HintId.RESUME_INTEGRATION: _Phrase("Resume the integration", "POST /hub/v1/integrations/{subject}/resume"),
    HintId.ALLOW_SHRINK: _Phrase(
        "If the source really shrank, run a full sync with the conf full and allow_shrink",
        "POST /api/v2/dags/sync_{dag}/dagRuns",
    ),
}


class HintDocument(BaseModel):
    id: HintId = Field(description="Stable; what to do is the same wherever it occurs.")
    subject: str = Field(
        description="The id of the run, integration or stream to do it to; empty where none is needed."
    )
    message: str = Field(description="What to do.")
    request: str = Field(description="Method and path of the request that does it.")

    @classmethod
    def of(cls, hint: Hint | None) -> Self | None:
        """None where no request helps."""
        found = hint and _PHRASES[hint.id]
        if not (hint and found):
            return None
        request = found.request.format(subject=hint.subject, dag=hint.subject.replace(".", "_"))
        return cls(id=hint.id, subject=hint.subject, message=found.message, request=request)
