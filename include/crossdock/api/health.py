"""Whether the hub can work, and who is asking."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from crossdock.api.access import Caller, Role, guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.problems import ProblemDocument
from crossdock.api.routing import Router
from crossdock.observability import alerts
from crossdock.sync import ledger

router = Router(tags=["hub"])


class HealthDocument(BaseModel):
    status: Literal["ok"]
    latest_run_at: datetime | None = Field(description="When the newest run began; null before the first.")
    running: int = Field(description="Runs without an end.")
    silent: int = Field(description="Those of them whose worker has been silent for longer than its lease.")
    open_alerts: int = Field(description="What needs a person now; /alerts says what.")


class CallerDocument(BaseModel):
    name: str
    roles: list[Role] = Field(description="All that the caller may act as.")


@router.get(
    "/health",
    summary="Whether the hub reaches its database",
    dependencies=[guard(Role.VIEWER)],
    responses={503: {"model": ProblemDocument, "description": "It does not; Retry-After says when to ask again."}},
)
def health(store: OpenStore) -> HealthDocument:
    with store.transaction() as work:
        newest = ledger.page(work, limit=1)
        unended = ledger.unended(work)
        open_alerts = alerts.count_open(work)
    return HealthDocument(
        status="ok",
        latest_run_at=newest[0].started_at if newest else None,
        running=len(unended),
        silent=sum(not run.has_lease for run in unended),
        open_alerts=open_alerts,
    )


@router.get("/me", summary="Who the caller is to the hub")
def me(caller: Annotated[Caller, guard(Role.VIEWER)]) -> CallerDocument:
    return CallerDocument(name=caller.name, roles=[role for role in Role if role in caller.roles])
