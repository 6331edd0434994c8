"""The attempt log: calls that write, and what a person found out about one whose outcome nobody knew."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from fastapi import Query, Response
from pydantic import BaseModel, Field

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.idempotency import KEYED, OneEffect
from crossdock.api.pagination import Limit, cursor_like
from crossdock.api.problems import documented
from crossdock.api.routing import Router
from crossdock.api.selection import Id, WithReason, not_there
from crossdock.core.roles import Caller, Role
from crossdock.integrations.attempts import repository, service
from crossdock.integrations.attempts.model import Attempt, Outcome, Resolution
from crossdock.integrations.model import INTEGRATION_ID

router = Router(tags=["attempts"])

_NONE = not_there("attempt")


class AttemptDocument(BaseModel):
    attempt_id: int
    integration: str
    action: str = Field(description="What the call does there: an action of the integration.")
    key: str = Field(description="Identifies the effect: the same request with this key has no second one.")
    sent_at: datetime = Field(description="When the first request was sent that may have had the effect.")
    outcome: Outcome
    known_at: datetime | None = Field(description="When the outcome became known; null while it is not.")
    resolution: Resolution | None = Field(description="How an unknown outcome became known; null for one that was.")


class AttemptsPage(BaseModel):
    attempts: list[AttemptDocument]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last.")


class ResolveRequest(WithReason):
    """What a person found out, and how."""

    outcome: Literal[Outcome.DONE, Outcome.REFUSED, Outcome.FAILED] = Field(
        description="done: the effect is there. refused, failed: it is not, and the key may be used again."
    )


@router.get("/attempts", summary="List calls that write, oldest first", dependencies=[guard(Role.VIEWER)])
def list_attempts(
    store: OpenStore,
    state: Literal["unresolved", "all"] = "unresolved",
    integration: Annotated[str | None, Query(pattern=INTEGRATION_ID)] = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,18}$")] = None,
    limit: Limit = 100,
) -> AttemptsPage:
    """List the attempts whose outcome nobody knows, or all."""
    find = repository.unresolved if state == "unresolved" else repository.find_all
    with store.transaction() as work:
        found = find(work, integration=integration, after=int(cursor or 0), limit=limit + 1)
    page = found[:limit]
    return AttemptsPage(
        attempts=[_document(attempt) for attempt in page],
        next_cursor=str(page[-1].attempt_id) if len(found) > limit else None,
    )


@router.get("/attempts/{attempt_id}", summary="Get an attempt", dependencies=[guard(Role.VIEWER)], responses=_NONE)
def show_attempt(store: OpenStore, attempt_id: Id) -> AttemptDocument:
    with store.transaction() as work:
        return _document(repository.get(work, attempt_id))


@router.post(
    "/attempts/{attempt_id}/resolve",
    summary="Say what became of an attempt",
    response_model=AttemptDocument,
    responses=documented(409) | _NONE | KEYED,
)
def resolve_attempt(
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.OPERATOR)],
    request: OneEffect,
    attempt_id: Id,
    body: ResolveRequest,
) -> Response:
    """Record what somebody saw in the system itself. To have the hub find out, repeat the request that made it, with its `Idempotency-Key`, instead."""
    return request.once(
        lambda: _document(service.resolve_by_person(store, attempt_id, body.outcome, body.reason, actor=caller.actor))
    )


def _document(attempt: Attempt) -> AttemptDocument:
    fields = msgspec.structs.asdict(attempt)
    return AttemptDocument(**{name: fields[name] for name in AttemptDocument.model_fields})
