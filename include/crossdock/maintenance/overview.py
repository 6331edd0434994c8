"""What a person wants to know of the hub at a glance: the latest run, what waits for somebody, and whether alerts are sent."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from crossdock.core.hints import Hint
from crossdock.db import leases, writable
from crossdock.db.database import Store, Work
from crossdock.events.dead_letters import repository as dead_letters
from crossdock.maintenance.alarm_conditions import broken
from crossdock.maintenance.alerting import needs, texts
from crossdock.maintenance.alerting import repository as alert_messages
from crossdock.maintenance.alerting.model import Severity
from crossdock.maintenance.alerting.sender import LEASE
from crossdock.observability.alerts import Alert
from crossdock.sync import ledger
from crossdock.sync.quarantine import repository as quarantine

#: How many open alerts are named.
ALERTS = 10


class LatestRun(msgspec.Struct, frozen=True):
    run_id: str
    state: str


class OpenOutage(msgspec.Struct, frozen=True):
    """An integration whose circuit breaker is not closed."""

    integration: str
    #: None where nobody knows more than that calls failed.
    reason: str | None


class OpenAlert(msgspec.Struct, frozen=True):
    opened_at: datetime
    severity: Severity
    kind: str
    subject: str
    stream: str | None
    message: str
    #: How grave, what it is about, what is wrong, and what to do next.
    line: str
    hint: Hint | None


class Overview(msgspec.Struct, frozen=True):
    #: None before the first run.
    latest_run: LatestRun | None
    #: Records in quarantine.
    in_quarantine: int
    dead_letters: int
    outages: tuple[OpenOutage, ...]
    #: The gravest first, of these the outages, and of these the newest; at most `ALERTS`.
    alerts: tuple[OpenAlert, ...]
    #: Whether a sender of alerts is at work.
    alerts_are_sent: bool
    #: How many routes say who gets alerts.
    alert_routes: int
    #: Messages that are not sent yet, and since when the oldest waits.
    waiting_messages: int
    waiting_since: datetime | None
    #: Why the hub's database takes no writes; None where it does.
    writes_refused: str | None


def overview(store: Store) -> Overview:
    """
    Read all of it, and try a write.

    Raises:
        StoreUnavailable: the hub's database cannot be reached.

    """
    refused = writable.refusal(store)
    with store.transaction() as work:
        return _read(work, refused)


def _read(work: Work, writes_refused: str | None) -> Overview:
    latest = ledger.newest(work, limit=1)
    waiting, since = alert_messages.backlog(work)
    return Overview(
        latest_run=LatestRun(latest[0].run_id, str(latest[0].state)) if latest else None,
        in_quarantine=sum(cause.items for cause in quarantine.causes(work)),
        dead_letters=sum(cause.dead_letters for cause in dead_letters.causes(work)),
        outages=tuple(
            OpenOutage(name, str(outage) if outage else None) for name, outage in broken(work, timedelta(0)).items()
        ),
        alerts=tuple(map(_open_alert, needs.open_alerts(work)[:ALERTS])),
        alerts_are_sent=leases.holder(work, LEASE) is not None,
        alert_routes=len(alert_messages.routes(work)),
        waiting_messages=waiting,
        waiting_since=since,
        writes_refused=writes_refused,
    )


def _open_alert(alert: Alert) -> OpenAlert:
    cause = texts.cause_of(needs.row_of(alert))
    return OpenAlert(
        alert.at,
        cause.severity,
        alert.kind,
        alert.subject,
        alert.stream,
        alert.message,
        texts.line_of(cause),
        alert.hint,
    )
