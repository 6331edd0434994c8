"""The hub's health, and the caller's own roles."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.problems import ProblemDocument
from crossdock.api.routing import Router
from crossdock.core.roles import Caller, Role
from crossdock.observability import alerts
from crossdock.sync import ledger

router = Router(tags=["hub"])


class HealthDocument(BaseModel):
    status: Literal["ok"]
    latest_run_at: datetime | None = Field(description="Start of the latest run; null before the first.")
    running: int = Field(description="Runs that have not ended.")
    silent: int = Field(description="Of these, runs whose worker has sent no heartbeat for longer than its lease.")
    open_alerts: int = Field(description="Problems that need a person now; see /alerts.")


class CallerDocument(BaseModel):
    name: str
    roles: list[Role] = Field(description="Every role that the caller has.")


@router.get(
    "/health",
    summary="Check that the hub reaches its database",
    dependencies=[guard(Role.VIEWER)],
    responses={
        503: {"model": ProblemDocument, "description": "The database cannot be reached. Retry after Retry-After."}
    },
)
def health(store: OpenStore) -> HealthDocument:
    with store.transaction() as work:
        newest = ledger.newest(work, limit=1)
        unfinished = ledger.unfinished(work)
        open_alerts = alerts.count_open(work)
    return HealthDocument(
        status="ok",
        latest_run_at=newest[0].started_at if newest else None,
        running=len(unfinished),
        silent=sum(not run.has_lease for run in unfinished),
        open_alerts=open_alerts,
    )


@router.get("/me", summary="Get the caller's name and roles")
def me(caller: Annotated[Caller, guard(Role.VIEWER)]) -> CallerDocument:
    return CallerDocument(name=caller.name, roles=[role for role in Role if role in caller.roles])
