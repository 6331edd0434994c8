"""Decisions: everything that waits for a person, with a button for each choice."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from fastapi import Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from crossdock.api.access import guard, refuse_without
from crossdock.api.dependencies import MOST_EXACT, OpenStore, Router, cursor_like
from crossdock.app import decisions as use_cases
from crossdock.app import personal_data
from crossdock.core.roles import Caller, Role
from crossdock.observability import decisions
from crossdock.web.filters import Filter
from crossdock.web.forms import Posted
from crossdock.web.page import go_to, show

router = Router()

_ON_A_PAGE = 50


@router.get("/decisions")
def list_decisions(
    request: Request,
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.VIEWER)],
    state: Annotated[Literal["open", "decided"], Query()] = "open",
    about: Filter = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,18}$")] = None,
) -> HTMLResponse:
    with store.transaction() as work:
        is_open, after = state == "open", int(cursor or 0)
        found = decisions.find(work, is_open=is_open, about=about, after=after, limit=_ON_A_PAGE + 1)
    page = [msgspec.structs.replace(each, shows=personal_data.masked_shows(each.shows)) for each in found[:_ON_A_PAGE]]
    return show(
        request,
        caller,
        "decisions.html",
        decisions=page,
        state=state,
        about=about,
        cursor=cursor,
        next_cursor=page[-1].decision_id if len(found) > _ON_A_PAGE else None,
    )


@router.post("/decisions/{decision_id}/decide")
def decide(
    request: Request,
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.USER)],
    decision_id: Annotated[int, Path(ge=1, le=MOST_EXACT)],
    form: Posted,
) -> RedirectResponse:
    """Decide, once. Who may, each decision says."""
    with store.transaction() as work:
        decision = decisions.get(work, decision_id)
    refuse_without(caller, decision.role)
    choice, ref = form.text("choice", most=50), form.text("ref") or None
    use_cases.make(store, decision, choice, reason=form.reason(), actor=caller.actor, ref=ref)
    return go_to(request, "decisions", state="decided", about=decision.about)
