"""The overview: what needs a person, the systems, each stream with its last runs, and the outcomes of all rows."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore, Router
from crossdock.app.streams import existing
from crossdock.core.roles import Caller, Role
from crossdock.maintenance import dashboard
from crossdock.maintenance.alerting import needs
from crossdock.maintenance.alerting.kinds import kind_of
from crossdock.web.alerts import page_of
from crossdock.web.integrations import state_of
from crossdock.web.page import go_to, show

router = Router()


@router.get("/", dependencies=[guard(Role.VIEWER)])
def go_to_overview(request: Request) -> RedirectResponse:
    return go_to(request, "overview")


@router.get("/badge", dependencies=[guard(Role.VIEWER)])
def badge(store: OpenStore) -> JSONResponse:
    """Answer the badge on Airflow's pages: how many things need a person."""
    return JSONResponse({"needs": dashboard.needs(store)})


@router.get("/overview")
def overview(request: Request, store: OpenStore, caller: Annotated[Caller, guard(Role.VIEWER)]) -> HTMLResponse:
    streams = sorted(existing(), key=lambda one: one.stream.id)
    found = dashboard.read(store, [(one.stream.id, one.shards) for one in streams])
    return show(
        request,
        caller,
        "overview.html",
        found=found,
        most=dashboard.MOST,
        most_alerts=needs.MOST,
        severity_of=lambda alert: kind_of(alert.kind).severity,
        streams=streams,
        state_of=state_of,
        page_of=page_of,
        in_quarantine=sum(cause.items for cause in found.quarantine),
        dead=sum(cause.dead_letters for cause in found.dead_letters),
    )
