"""Alerts over HTTP: list them, say that somebody is at one, and silence some for a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Query, Response
from pydantic import BaseModel, Field

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.hints import HintDocument
from crossdock.api.idempotency import KEYED, OneEffect
from crossdock.api.pagination import Limit, cursor_like
from crossdock.api.routing import Router
from crossdock.api.selection import Id, Strict, WithReason, not_there
from crossdock.api.validation import UtcTimestamp
from crossdock.app.personal_data import MASK, may_see
from crossdock.core.roles import Caller, Role
from crossdock.maintenance.alerting import repository, service
from crossdock.maintenance.alerting.kinds import kind_of
from crossdock.maintenance.alerting.model import Severity
from crossdock.maintenance.alerting.repository import StoredMute
from crossdock.maintenance.alerting.routes import Pattern
from crossdock.observability import alerts
from crossdock.observability.alerts import Alert

router = Router(tags=["alerts"])

_IS_OPEN = {"open": True, "closed": False, "all": None}


class AlertDocument(BaseModel):
    """One alert. Alerts open and close automatically."""

    alert_id: int
    kind: str
    severity: Severity
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
    acknowledged_by: str | None = Field(description="Who has said to be at it: it is not sent again.")
    acknowledged_at: datetime | None
    acknowledged_until: datetime | None = Field(description="Null: until it closes.")


class AlertsPage(BaseModel):
    """One page of alerts."""

    alerts: list[AlertDocument]
    next_cursor: str | None = Field(description="Of the next page; null on the last.")


class AcknowledgeRequest(Strict):
    """For how long an alert is not sent again."""

    until: UtcTimestamp | None = Field(None, description="Null: until it closes.")


class MuteRequest(WithReason):
    """Which alerts are not sent, and until when. An alert fits if all three patterns do (`*`: any text, `?`: a character)."""

    kind: Pattern = "*"
    subject: Pattern = "*"
    integration: Pattern = "*"
    until: UtcTimestamp


class MuteDocument(BaseModel):
    mute_id: int
    kind: str
    subject: str
    integration: str
    since: datetime
    until: datetime
    reason: str = Field(description="Masked, but in the list of operators and administrators.")
    created_by: str

    @staticmethod
    def of(mute: StoredMute, *, shows_reason: bool = False) -> MuteDocument:
        """Describe *mute*. Its reason is in a person's own words, as in the audit trail: they may name a customer."""
        return MuteDocument(**{**vars(mute), "reason": mute.reason if shows_reason else MASK})


class MutesPage(BaseModel):
    mutes: list[MuteDocument]


@router.get("/alerts", summary="List alerts", dependencies=[guard(Role.VIEWER)])
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


@router.post(
    "/alerts/{alert_id}/acknowledge",
    summary="Acknowledge an alert: it is not sent again",
    response_model=AlertDocument,
    responses=not_there("open alert") | KEYED,
)
def acknowledge_alert(
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.OPERATOR)],
    request: OneEffect,
    alert_id: Id,
    body: AcknowledgeRequest,
) -> Response:
    """Say that somebody is at it. That it closed is sent all the same."""

    def effect() -> AlertDocument:
        service.acknowledge(store, alert_id, until=body.until, actor=caller.actor)
        with store.transaction() as work:
            return _document(alerts.get(work, alert_id))

    return request.once(effect)


@router.get("/alert-mutes", summary="List the mutes that hold")
def list_mutes(store: OpenStore, caller: Annotated[Caller, guard(Role.VIEWER)]) -> MutesPage:
    with store.transaction() as work:
        found = repository.mutes(work, datetime.now(UTC))
    return MutesPage(mutes=[MuteDocument.of(mute, shows_reason=may_see(caller)) for mute in found])


@router.post("/alert-mutes", summary="Mute alerts for a time", response_model=MuteDocument, responses=KEYED)
def mute_alerts(
    store: OpenStore, caller: Annotated[Caller, guard(Role.OPERATOR)], request: OneEffect, body: MuteRequest
) -> Response:
    """Alerts that fit are not sent until then. Those that are open then are sent then."""

    def effect() -> MuteDocument:
        muted = service.mute(
            store,
            kind=body.kind,
            subject=body.subject,
            integration=body.integration,
            until=body.until,
            reason=body.reason,
            actor=caller.actor,
        )
        return MuteDocument.of(muted)

    return request.once(effect)


@router.post(
    "/alert-mutes/{mute_id}/end",
    summary="End a mute now",
    response_model=MuteDocument,
    responses=not_there("mute that holds") | KEYED,
)
def end_mute(
    store: OpenStore, caller: Annotated[Caller, guard(Role.OPERATOR)], request: OneEffect, mute_id: Id
) -> Response:
    return request.once(lambda: MuteDocument.of(service.end_mute(store, mute_id, actor=caller.actor)))


def _document(alert: Alert) -> AlertDocument:
    return AlertDocument(
        alert_id=alert.alert_id,
        kind=alert.kind,
        severity=kind_of(alert.kind).severity,
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
        acknowledged_by=alert.acknowledged_by,
        acknowledged_at=alert.acknowledged_at,
        acknowledged_until=alert.acknowledged_until,
    )
