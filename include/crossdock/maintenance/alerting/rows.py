"""What a plan reads: alerts, routes, mutes, and what was said before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from crossdock.maintenance.alerting.kinds import kind_of
from crossdock.maintenance.alerting.model import Severity
from crossdock.maintenance.alerting.routes import Route, fits


class Says(StrEnum):
    """What a message says of one alert."""

    OPENED = "opened"
    CONTINUES = "continues"
    CLOSED = "closed"
    #: It opened and closed, and nobody was notified: the sender was down, or it was quiet.
    PASSED = "passed"


@dataclass(frozen=True, kw_only=True)
class AlertRow:
    """An alert, as a plan needs it."""

    alert_id: int
    kind: str
    subject: str
    message: str
    at: datetime
    closed_at: datetime | None = None
    records: int | None = None
    examples: tuple[str, ...] = ()
    integration: str | None = None
    stream: str | None = None
    is_acknowledged: bool = False

    @property
    def cause(self) -> tuple[str, str]:
        return self.kind, self.subject

    @property
    def severity(self) -> Severity:
        return kind_of(self.kind).severity


@dataclass(frozen=True, kw_only=True)
class PlacedRoute:
    """A route, and since when it takes the alerts that it takes."""

    route: Route
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Mute:
    """Silence about some alerts for a time. Empty patterns fit everything."""

    kind: str = "*"
    subject: str = "*"
    integration: str = "*"
    since: datetime
    until: datetime

    def covers(self, alert: AlertRow, at: datetime) -> bool:
        """Check whether it silences *alert* at an instant."""
        fields = ((self.kind, alert.kind), (self.subject, alert.subject), (self.integration, alert.integration))
        return self.since <= at < self.until and all(fits((pattern,), value) for pattern, value in fields)


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one route's messages have said of one alert so far."""

    route: str
    alert_id: int
    cause: tuple[str, str]
    #: Of the last one that named it, but not of its end: when it was sent or refused, else when it was written.
    last_at: datetime | None
    #: One that names it, but not of its end, is not sent yet.
    is_waiting: bool
    #: One that names it was not refused.
    is_opened: bool
    is_closed: bool
