"""Alerts over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field

from crossdock.api.access import Role, guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.hints import HintDocument
from crossdock.api.pagination import Limit, cursor_like
from crossdock.api.routing import Router
from crossdock.observability import alerts
from crossdock.observability.alerts import Alert

router = Router(prefix="/alerts", tags=["hub"])

_IS_OPEN = {"open": True, "closed": False, "all": None}


class AlertDocument(BaseModel):
    """One alert. Alerts open and close automatically."""

    alert_id: int
    kind: str
    subject: str = Field(description="What it is about. There is at most one open alert per kind and subject.")
    message: str = Field(description="What is wrong.")
    records: int | None = Field(
        None, description="How many records, events or calls it is about; null where there is nothing to count."
    )
    examples: list[str] = Field(description="At most three of them, by their IDs.")
    integration: str | None = Field(None, description="The integration that it belongs to, if it is of one.")
    stream: str | None = Field(None, description="The stream that it belongs to, if it is of one.")
    hint: HintDocument | None = Field(None, description="What to do about it, where the hub knows.")
    opened_at: datetime
    seen_at: datetime = Field(description="When the condition was last seen.")
    closed_at: datetime | None = Field(description="When the condition ended; null while the alert is open.")


class AlertsPage(BaseModel):
    """One page of alerts."""

    alerts: list[AlertDocument]
    next_cursor: str | None = Field(description="Of the next page; null on the last.")


@router.get("", summary="List alerts", dependencies=[guard(Role.VIEWER)])
def list_alerts(
    store: OpenStore,
    state: Annotated[Literal["open", "closed", "all"], Query()] = "open",
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,18}$")] = None,
    limit: Limit = 50,
) -> AlertsPage:
    """List alerts, newest first."""
    with store.transaction() as work:
        before = int(cursor) if cursor else None
        found = alerts.find(work, is_open=_IS_OPEN[state], before=before, limit=limit + 1)
    page = found[:limit]
    return AlertsPage(
        alerts=[_document(alert) for alert in page],
        next_cursor=str(page[-1].alert_id) if len(found) > limit else None,
    )


def _document(alert: Alert) -> AlertDocument:
    return AlertDocument(
        alert_id=alert.alert_id,
        kind=alert.kind,
        subject=alert.subject,
        message=alert.message,
        records=alert.records,
        examples=list(alert.examples),
        integration=alert.integration,
        stream=alert.stream,
        hint=HintDocument.of(alert.hint),
        opened_at=alert.at,
        seen_at=alert.seen_at,
        closed_at=alert.closed_at,
    )
