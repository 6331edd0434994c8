"""The hub at a glance, over HTTP."""

from __future__ import annotations

from datetime import datetime

import msgspec
from pydantic import BaseModel, Field

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.hints import HintDocument
from crossdock.api.routing import Router
from crossdock.core.roles import Role
from crossdock.maintenance import overview
from crossdock.maintenance.alerting.model import Severity

router = Router(tags=["hub"])


class LatestRunDocument(BaseModel):
    run_id: str
    state: str


class OutageDocument(BaseModel):
    integration: str
    reason: str | None = Field(description="Null where nobody knows more than that calls failed.")


class OpenAlertDocument(BaseModel):
    opened_at: datetime
    severity: Severity
    kind: str
    subject: str = Field(description="What it is about.")
    stream: str | None = Field(description="The stream that it belongs to, if it is of one.")
    line: str = Field(description="How grave, what it is about, what is wrong and what to do next, in one line.")
    message: str = Field(description="What is wrong.")
    hint: HintDocument | None = Field(None, description="What to do about it, where the hub knows.")


class OverviewDocument(BaseModel):
    """The hub at a glance."""

    latest_run: LatestRunDocument | None = Field(description="Null before the first run.")
    in_quarantine: int = Field(description="Records in quarantine.")
    dead_letters: int
    outages: list[OutageDocument] = Field(description="Integrations whose circuit breaker is not closed.")
    alerts: list[OpenAlertDocument] = Field(
        description="The open alerts, the gravest first, of these the outages, and of these the newest; "
        f"at most {overview.ALERTS}."
    )
    alerts_are_sent: bool = Field(description="Whether a sender of alerts is at work.")
    alert_routes: int = Field(description="How many routes say who gets alerts.")
    waiting_messages: int = Field(description="Messages of alerts that are not sent yet.")
    waiting_since: datetime | None = Field(description="Since when the oldest of them waits; null if none does.")
    writes_refused: str | None = Field(description="Why the hub's database takes no writes; null where it does.")


@router.get("/overview", summary="See the hub at a glance", dependencies=[guard(Role.VIEWER)])
def get_overview(store: OpenStore) -> OverviewDocument:
    """Show the latest run, what waits for a person, and whether alerts are sent."""
    found = overview.overview(store)
    latest = found.latest_run
    return OverviewDocument(
        latest_run=LatestRunDocument(run_id=latest.run_id, state=latest.state) if latest else None,
        in_quarantine=found.in_quarantine,
        dead_letters=found.dead_letters,
        outages=[OutageDocument(integration=each.integration, reason=each.reason) for each in found.outages],
        alerts=[
            OpenAlertDocument(**{**msgspec.structs.asdict(alert), "hint": HintDocument.of(alert.hint)})
            for alert in found.alerts
        ],
        alerts_are_sent=found.alerts_are_sent,
        alert_routes=found.alert_routes,
        waiting_messages=found.waiting_messages,
        waiting_since=found.waiting_since,
        writes_refused=found.writes_refused,
    )
