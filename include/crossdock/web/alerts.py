"""Alerts: what is wrong now and what was, and who is at it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from crossdock.api.access import guard
from crossdock.api.dependencies import MOST_EXACT, OpenStore, Router, cursor_like
from crossdock.core.hints import Hint, HintId
from crossdock.core.roles import Caller, Role
from crossdock.maintenance.alerting import service
from crossdock.maintenance.alerting.kinds import kind_of
from crossdock.maintenance.alerting.needs import by_gravity
from crossdock.observability import alerts
from crossdock.web.forms import Posted
from crossdock.web.page import go_to, show

router = Router()

_ON_A_PAGE = 50
#: Hint → the page where a person does something about it.
_PAGES = {
    HintId.LIST_QUARANTINE: ("quarantine",),
    HintId.LIST_DEAD_LETTERS: ("dead-letters",),
    HintId.LIST_RUNS: ("runs",),
    HintId.LIST_DECISIONS: ("decisions",),
    HintId.LIST_ORDERS: ("orders",),
    HintId.SHOW_INTEGRATION: ("integrations", "{subject}"),
    HintId.ROTATE_CREDENTIALS: ("integrations", "{subject}"),
}


@router.get("/alerts")
def list_alerts(
    request: Request,
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.VIEWER)],
    state: Annotated[Literal["open", "closed"], Query()] = "open",
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,18}$")] = None,
) -> HTMLResponse:
    with store.transaction() as work:
        before = int(cursor) if cursor else None
        found = alerts.find(work, is_open=state == "open", before=before, limit=_ON_A_PAGE + 1)
        open_now = alerts.count_open(work)
    page = found[:_ON_A_PAGE]
    next_cursor = page[-1].alert_id if len(found) > _ON_A_PAGE else None
    return show(
        request,
        caller,
        "alerts.html",
        alerts=by_gravity(page) if state == "open" else page,
        state=state,
        open_now=open_now,
        severity_of=lambda alert: kind_of(alert.kind).severity,
        page_of=page_of,
        cursor=cursor,
        next_cursor=next_cursor,
    )


@router.post("/alerts/{alert_id}/acknowledge")
def acknowledge(
    request: Request,
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.OPERATOR)],
    alert_id: Annotated[int, Path(ge=1, le=MOST_EXACT)],
    form: Posted,  # noqa: ARG001  its token is checked
) -> RedirectResponse:
    """Say that somebody is at it, until it closes: it is not sent again."""
    service.acknowledge(store, alert_id, until=None, actor=caller.actor)
    return go_to(request, "alerts")


def page_of(hint: Hint | None) -> tuple[str, ...] | None:
    """Find the path of the page where a person does something about it; None where there is none."""
    path = _PAGES.get(hint.id) if hint else None
    return tuple(part.format(subject=hint.subject) for part in path) if path and hint else None
