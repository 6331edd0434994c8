"""Decisions: everything that waits for a person, in one list."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Query, Response
from pydantic import BaseModel, Field

from crossdock.api.access import guard, refuse_without
from crossdock.api.dependencies import OpenStore
from crossdock.api.idempotency import KEYED, OneEffect
from crossdock.api.pagination import Limit, cursor_like
from crossdock.api.problems import documented
from crossdock.api.routing import Router
from crossdock.api.selection import Id, WithReason, not_there
from crossdock.api.validation import PLAIN
from crossdock.app import decisions as use_cases
from crossdock.app import personal_data
from crossdock.core.roles import Caller, Role
from crossdock.observability import decisions
from crossdock.observability.decisions import Decision, DecisionKind

router = Router(tags=["decisions"])

_NONE = not_there("decision")
_IS_OPEN = {"open": True, "decided": False, "all": None}


class DecisionDocument(BaseModel):
    """A question to a person."""

    decision_id: int
    kind: DecisionKind
    subject: str = Field(description="What waits.", examples=["exe_0a1b2c3d4e5f60718293a4b5c6d7e8f9"])
    about: str = Field(
        description="What it is about: an order or a payment; of an attempt, the integration and the key.",
        examples=["ord_0a1b2c3d4e5f60718293a4b5c6d7e8f9"],
    )
    question: str
    shows: dict[str, Any] = Field(
        description="Name → value: what the question is about. Personal data is masked, but for an operator who gets one decision.",
        examples=[{"sku": "RING-17", "new_amount_minor": 2500}],
    )
    choices: list[str] = Field(
        description="Of a step: retry, done (it had its effect), refused, failed (it had none), cancel (undo what was done). Of an "
        "attempt or a payment's call: done, refused, failed."
    )
    role: Role = Field(description="Who may decide; an administrator always may.")
    you_may: bool = Field(description="Whether the caller may decide.")
    opened_at: datetime
    choice: str | None = Field(description="What was decided; null while it is open. Why, the audit trail has.")
    decided_by: str | None
    decided_at: datetime | None


class DecisionsPage(BaseModel):
    decisions: list[DecisionDocument]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last.")


class DecideRequest(WithReason):
    """What is decided, and why."""

    choice: str = Field(max_length=50, pattern=PLAIN, description="One of `choices`.")
    ref: str | None = Field(
        default=None,
        max_length=200,
        pattern=PLAIN,
        description="Only for a payment's call that was done: the gateway's reference of what it did.",
        examples=["pi_3MtwBwLkdIwHu7ix28a3tqPa"],
    )


@router.get("/decisions", summary="List what waits for a person, oldest first")
def list_decisions(
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.VIEWER)],
    state: Literal["open", "decided", "all"] = "open",
    about: Annotated[
        str | None, Query(max_length=200, pattern=PLAIN, description="Only about this, as `about` has it.")
    ] = None,
    mine: Annotated[bool, Query(description="Only those that the caller may decide.")] = False,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,18}$")] = None,
    limit: Limit = 100,
) -> DecisionsPage:
    """Who decided, and when, stays in the list."""
    roles = sorted(caller.roles) if mine else None
    with store.transaction() as work:
        after = int(cursor or 0)
        found = decisions.find(work, is_open=_IS_OPEN[state], about=about, roles=roles, after=after, limit=limit + 1)
    page = found[:limit]
    return DecisionsPage(
        decisions=[_document(decision, caller) for decision in page],
        next_cursor=str(page[-1].decision_id) if len(found) > limit else None,
    )


@router.get("/decisions/{decision_id}", summary="Get a decision", responses=_NONE)
def show_decision(store: OpenStore, caller: Annotated[Caller, guard(Role.VIEWER)], decision_id: Id) -> DecisionDocument:
    """To an operator, personal data that it shows is shown, and that is recorded in the audit trail."""
    with store.transaction() as work:
        found = decisions.get(work, decision_id)
    return _document(found, caller, personal_data.revealed_shows(store, caller, decision_id, found.shows))


@router.post(
    "/decisions/{decision_id}/decide",
    summary="Decide what something waits for",
    response_model=DecisionDocument,
    responses=documented(409) | _NONE | KEYED,
)
def decide(
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.USER)],
    request: OneEffect,
    decision_id: Id,
    body: DecideRequest,
) -> Response:
    """Once: the second one to decide is refused. Of a step, only after somebody has looked in the other system."""
    with store.transaction() as work:
        decision = decisions.get(work, decision_id)
    refuse_without(caller, decision.role)

    def effect() -> DecisionDocument:
        made = use_cases.make(store, decision, body.choice, reason=body.reason, actor=caller.actor, ref=body.ref)
        return _document(made, caller)

    return request.once(effect)


def _document(decision: Decision, caller: Caller, shows: dict[str, Any] | None = None) -> DecisionDocument:
    if shows is None:
        shows = personal_data.masked_shows(decision.shows)
    return DecisionDocument(
        **{**msgspec.structs.asdict(decision), "shows": shows}, you_may=decision.role in caller.roles
    )
