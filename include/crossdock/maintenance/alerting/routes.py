"""Routes: which alerts are sent over which integration, to whom, and when not."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from fnmatch import fnmatchcase
from functools import cache
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from crossdock.core.printable import UNPRINTABLE_IN_SCHEMAS
from crossdock.integrations.model import INTEGRATION_ID
from crossdock.maintenance.alerting.model import Severity

ROUTE_NAME = r"^[a-z][a-z0-9_-]{0,62}$"
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
#: In the order of `datetime.weekday`.
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
_MOST = 50

#: A text in which `*` stands for any characters and `?` for one.
Pattern = Annotated[str, Field(min_length=1, max_length=200, pattern=rf"^[^{UNPRINTABLE_IN_SCHEMAS}]+$")]
Patterns = Annotated[tuple[Pattern, ...], Field(max_length=_MOST)]
#: Hours and minutes of a local clock.
Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


#: To find them reads hundreds of files, and the sender reads its routes every second.
_zones = cache(available_timezones)


def _known_zone(name: str) -> str:
    if name not in _zones():
        raise ValueError(f"{name!r} is not a time zone of the IANA database (expected something like Europe/Berlin)")
    return name


Zone = Annotated[str, AfterValidator(_known_zone)]


class _Declared(BaseModel):
    """A part of a route: the same in a file, over REST and in the database."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class QuietWindow(_Declared):
    """Hours of some days. A window that ends before it begins ends on the next day."""

    days: Annotated[tuple[Day, ...], Field(min_length=1, max_length=7)] = DAYS
    from_: Clock = Field(alias="from")
    to: Clock

    def contains(self, local: datetime) -> bool:
        """Check whether the *local* time is in it. One that begins when it ends lasts for the whole day."""
        begins, ends, clock = time.fromisoformat(self.from_), time.fromisoformat(self.to), local.time()
        today, yesterday = (DAYS[day.weekday()] in self.days for day in (local, local - timedelta(days=1)))
        if begins < ends:
            return today and begins <= clock < ends
        return (today and clock >= begins) or (yesterday and clock < ends)


class QuietHours(_Declared):
    """When a route holds its messages. They are sent afterwards."""

    zone: Zone
    windows: Annotated[tuple[QuietWindow, ...], Field(min_length=1, max_length=_MOST)]
    critical_passes: bool = True

    def holds(self, severity: Severity, now: datetime) -> bool:
        """Check whether a message of *severity* waits now."""
        if self.critical_passes and severity is Severity.CRITICAL:
            return False
        local = now.astimezone(ZoneInfo(self.zone))
        return any(window.contains(local) for window in self.windows)


class Route(_Declared):
    """One route. Lists that are empty match everything."""

    name: Annotated[str, Field(pattern=ROUTE_NAME)]
    #: The integration that sends its messages.
    integration: Annotated[str, Field(pattern=INTEGRATION_ID)]
    #: To whom, where the integration takes recipients.
    recipients: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=254)], ...], Field(max_length=_MOST)] = ()
    kinds: Patterns = ()
    severity: Severity = Field(Severity.INFO, description="At least so grave.")
    streams: Patterns = ()
    integrations: Patterns = ()
    quiet: QuietHours | None = None
    digest_over: int | None = Field(
        10,
        ge=1,
        le=1_000,
        description="More causes than so many within about a minute come together in one message; null: never.",
    )
    remind_every_hours: int | None = Field(
        1, ge=1, le=24 * 7, description="How often a cause that lasts is sent again; null: never."
    )

    def matches(self, kind: str, severity: Severity, stream: str | None, integration: str | None) -> bool:
        """Check whether an alert goes this way."""
        return (
            _RANK[severity] >= _RANK[self.severity]
            and fits(self.kinds, kind)
            and fits(self.streams, stream)
            and fits(self.integrations, integration)
        )

    def holds(self, severity: Severity, now: datetime) -> bool:
        """Check whether quiet hours hold a message of *severity* now."""
        return self.quiet is not None and self.quiet.holds(severity, now)


def fits(patterns: tuple[str, ...], value: str | None) -> bool:
    """Check *value* against patterns; without any, everything fits."""
    # A bracket is a bracket: subjects have some, and `[!a]*` would fit nearly everything.
    return not patterns or any(fnmatchcase(value or "", pattern.replace("[", "[[]")) for pattern in patterns)


def exactly(text: str) -> str:
    """Write a pattern that fits *text*: its own wildcards fit themselves, and at worst one other character each."""
    return text[:200].replace("*", "?") or "?"


def names_something(pattern: str) -> bool:
    """Check that *pattern* has more than wildcards: `*`, `**` and `?*` fit everything there is."""
    return bool(pattern.strip("*?"))


def gravity(severity: Severity) -> int:
    """Rank *severity*: the gravest is the highest."""
    return _RANK[severity]


def gravest(severities: list[Severity]) -> Severity:
    """Choose the highest of *severities*."""
    return max(severities, key=_RANK.__getitem__)
