"""Alerts: what is wrong now and what was, and who is at it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from crossdock.api.access import guard
from crossdock.api.dependencies import MOST_EXACT, OpenStore, Router, cursor_like
from crossdock.app.personal_data import may_see
from crossdock.core.errors import BadRequest
from crossdock.core.hints import Hint, HintId
from crossdock.core.roles import Caller, Role
from crossdock.core.settings import settings
from crossdock.maintenance.alerting import repository, service
from crossdock.maintenance.alerting.kinds import kind_of
from crossdock.maintenance.alerting.needs import by_gravity
from crossdock.maintenance.alerting.routes import ROUTE_NAME
from crossdock.observability import alerts
from crossdock.web.forms import Form, Posted
from crossdock.web.page import go_to, show

router = Router()

Viewer = Annotated[Caller, guard(Role.VIEWER)]
Operator = Annotated[Caller, guard(Role.OPERATOR)]

_ON_A_PAGE = 50
#: The messages that were sent last, below the routes.
_MESSAGES = 20
#: For how long a person can silence something.
HOURS = (1, 4, 8, 24, 72)
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
    caller: Viewer,
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
        hours=HOURS,
        cursor=cursor,
        next_cursor=next_cursor,
    )


@router.post("/alerts/{alert_id}/acknowledge")
def acknowledge(
    request: Request,
    store: OpenStore,
    caller: Operator,
    alert_id: Annotated[int, Path(ge=1, le=MOST_EXACT)],
    form: Posted,  # noqa: ARG001  its token is checked
) -> RedirectResponse:
    """Say that somebody is at it, until it closes: it is not sent again."""
    service.acknowledge(store, alert_id, until=None, actor=caller.actor)
    return go_to(request, "alerts")


@router.post("/alerts/{alert_id}/mute")
def mute(
    request: Request,
    store: OpenStore,
    caller: Operator,
    alert_id: Annotated[int, Path(ge=1, le=MOST_EXACT)],
    form: Posted,
) -> RedirectResponse:
    """Silence the alerts of this kind and subject for some hours."""
    service.mute_like(store, alert_id, hours=hours_of(form), reason=form.reason(), actor=caller.actor)
    return go_to(request, "alert-mutes")


@router.get("/alert-mutes")
def list_mutes(request: Request, store: OpenStore, caller: Viewer) -> HTMLResponse:
    with store.transaction() as work:
        found = repository.mutes(work, datetime.now(UTC))
        open_now = alerts.count_open(work)
    return show(request, caller, "alert_mutes.html", mutes=found, open_now=open_now, may_see=may_see(caller))


@router.post("/alert-mutes/{mute_id}/end")
def end_mute(
    request: Request,
    store: OpenStore,
    caller: Operator,
    mute_id: Annotated[int, Path(ge=1, le=MOST_EXACT)],
    form: Posted,  # noqa: ARG001  its token is checked
) -> RedirectResponse:
    service.end_mute(store, mute_id, actor=caller.actor)
    return go_to(request, "alert-mutes")


@router.get("/alert-routes")
def list_routes(request: Request, store: OpenStore, caller: Viewer) -> HTMLResponse:
    """Show who gets which alerts, without their addresses, and the messages that were sent last."""
    with store.transaction() as work:
        routes = repository.routes(work)
        messages = repository.messages(work, limit=_MESSAGES)
        open_now = alerts.count_open(work)
    return show(request, caller, "alert_routes.html", routes=routes, messages=messages, open_now=open_now)


@router.post("/alert-routes/{name}/test")
def test_route(
    request: Request,
    store: OpenStore,
    caller: Operator,
    name: Annotated[str, Path(pattern=ROUTE_NAME)],
    form: Posted,  # noqa: ARG001  its token is checked
) -> RedirectResponse:
    """Write a test message; the sender of alerts sends it, as any other."""
    service.request_test(store, name, hub=settings().name, actor=caller.actor)
    return go_to(request, "alert-routes")


def hours_of(form: Form) -> int:
    """
    Read for how long a person silences something.

    Raises:
        Problem: 400, it is no choice of the form.

    """
    hours = form.number("hours")
    if hours not in HOURS:
        raise BadRequest(f"hours must be one of {', '.join(map(str, HOURS))}")
    return hours


def page_of(hint: Hint | None) -> tuple[str, ...] | None:
    """Find the path of the page where a person does something about it; None where there is none."""
    path = _PAGES.get(hint.id) if hint else None
    return tuple(part.format(subject=hint.subject) for part in path) if path and hint else None
