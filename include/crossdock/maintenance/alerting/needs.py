"""What needs a person, once each and the gravest first: open alerts, without those whose causes are listed beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from crossdock.db.database import Work
from crossdock.maintenance.alerting.kinds import kind_of
from crossdock.maintenance.alerting.routes import gravity
from crossdock.maintenance.alerting.rows import AlertRow
from crossdock.observability import alerts
from crossdock.observability.alerts import Alert, Kind

#: More open alerts than a person reads: of these the gravest are found.
MOST = 500
#: Something is down. It stops more than any single order or event does.
_OUTAGES = frozenset({Kind.HUB_DATABASE_DOWN, Kind.AIRFLOW_UNREACHABLE, Kind.BREAKER_OPEN, Kind.ACCESS_REFUSED})


def open_alerts(work: Work) -> list[Alert]:
    """List the open alerts, at most `MOST`: the gravest first, of these the outages, and of these the newest."""
    return by_gravity(alerts.find(work, limit=MOST))


def by_gravity(found: Iterable[Alert]) -> list[Alert]:
    """Order alerts: the gravest first, of these the outages, and otherwise as they are."""
    return sorted(found, key=lambda alert: (-gravity(kind_of(alert.kind).severity), alert.kind not in _OUTAGES))


def without_listed(
    found: Iterable[Alert], *, subscribers: Collection[str], streams: Collection[str], has_waiting_orders: bool
) -> list[Alert]:
    """
    Leave out the alerts that say what is listed beside them: a person would find each cause twice.

    Args:
        found: The alerts.
        subscribers: Those whose dead letters are listed.
        streams: Those whose records in quarantine are listed.
        has_waiting_orders: Whether the questions of orders that wait are listed.

    """

    def is_listed(alert: Alert) -> bool:
        match alert.kind:
            case Kind.DEAD_LETTERS:
                return alert.subject in subscribers
            case Kind.ROWS_REJECTED:
                return alert.subject in streams
            case Kind.ORDER_WAITS:
                return has_waiting_orders
        return False

    return [alert for alert in found if not is_listed(alert)]


def row_of(alert: Alert) -> AlertRow:
    """Give an alert as the texts take it."""
    return AlertRow(
        alert_id=alert.alert_id,
        kind=alert.kind,
        subject=alert.subject,
        message=alert.message,
        at=alert.at,
        closed_at=alert.closed_at,
        records=alert.records,
        examples=tuple(alert.examples),
        integration=alert.integration,
        stream=alert.stream,
    )
