"""Delivery of events: who lags, what is compared with last week, and replay with its count first."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore, Router
from crossdock.app.event_types import event_types
from crossdock.app.services import services
from crossdock.app.subscribers import subscribers
from crossdock.core.errors import BadRequest
from crossdock.core.instants import from_utc_text
from crossdock.core.roles import Caller, Role
from crossdock.events import counts_repository
from crossdock.events import store as event_store
from crossdock.events.replay import service as replay_service
from crossdock.events.status import subscriber_statuses
from crossdock.events.store import Selection
from crossdock.web.filters import Filter
from crossdock.web.forms import Posted
from crossdock.web.page import go_to, show

router = Router()

Viewer = Annotated[Caller, guard(Role.VIEWER)]
Operator = Annotated[Caller, guard(Role.OPERATOR)]


@router.get("/event-delivery")
def delivery(request: Request, store: OpenStore, caller: Viewer) -> HTMLResponse:
    with store.transaction() as work:
        found = subscriber_statuses(work, subscribers(services()))
        horizon_age_s = event_store.horizon_age_s(work)
    return show(request, caller, "event_delivery.html", subscribers=found, horizon_age_s=horizon_age_s)


@router.get("/event-volumes")
def volumes(request: Request, store: OpenStore, caller: Viewer) -> HTMLResponse:
    """Compare the events and failures of each type with the same hours of last week."""
    with store.transaction() as work:
        found = counts_repository.compared(work)
    return show(request, caller, "event_volumes.html", types=found)


@router.get("/event-replay")
def choose_replay(
    request: Request,
    store: OpenStore,
    caller: Operator,
    type: Filter = None,  # noqa: A002  the attribute's name
    key: Filter = None,
    since: Filter = None,
    until: Filter = None,
    subscriber: Filter = None,
    silent: Annotated[bool, Query()] = False,
    count: Annotated[bool, Query()] = False,
) -> HTMLResponse:
    """Show the form; with *count*, how many events each subscriber would get. Nothing is replayed."""
    asked = {"type": type, "key": key, "since": since, "until": until, "subscriber": subscriber, "silent": silent}
    counted = None
    if count:
        chosen = replay_service.subscribers_of(subscriber, subscribers(services()))
        counted = replay_service.count(store, _selection(type, key, since, until, silent=silent), chosen)
    return show(
        request,
        caller,
        "event_replay.html",
        types=event_types().names,
        subscribers=list(subscribers(services())),
        asked=asked,
        counted=counted,
        total=sum(counted.values()) if counted else 0,
    )


@router.post("/event-replays")
def replay(request: Request, store: OpenStore, caller: Operator, form: Posted) -> RedirectResponse:
    """Replay what was counted. What came since is not among it: it is delivered anyway."""
    selection = _selection(
        form.text("type"),
        form.text("key", most=512),
        form.text("since"),
        form.text("until"),
        silent=form.has("silent"),
    )
    chosen = replay_service.subscribers_of(form.text("subscriber") or None, subscribers(services()))
    rate = float(form.number("rate")) if form.has("rate") else None
    begun = replay_service.request_events(store, selection, chosen, rate=rate, actor=caller.actor)
    return go_to(request, "replays", begun.replay_id)


def _selection(type_: str | None, key: str | None, since: str | None, until: str | None, *, silent: bool) -> Selection:
    return Selection(
        types=event_types().known([type_] if type_ else ()),
        key=key or None,
        since=_instant("since", since),
        until=_instant("until", until),
        silent=silent,
    )


def _instant(name: str, text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        return from_utc_text(text)
    except ValueError as error:
        raise BadRequest(f"{name} is not a time: {text!r}. Write it such as 2026-11-21T09:30:00Z") from error
