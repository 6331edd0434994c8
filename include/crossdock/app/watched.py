"""
What alarms watch outside the hub's database: schedules, declarations, credentials, volumes and the processes of a local stack.

In Airflow's processes only: a command has other settings, and cannot read connections.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from crossdock.app.streams import existing
from crossdock.connectors.declarative import files
from crossdock.connectors.declarative.files import InvalidDeclaration
from crossdock.connectors.declarative.streams import mistakes
from crossdock.core.ids import prefixed
from crossdock.core.settings import settings
from crossdock.db.database import Work
from crossdock.http.connection import Connection
from crossdock.integrations import airflow_connection, repository, secret_expiry
from crossdock.maintenance import capacity, stale_streams
from crossdock.maintenance.alarms import AlarmThresholds, Condition
from crossdock.maintenance.stale_streams import ScheduledStream
from crossdock.maintenance.volumes import VolumeLimits
from crossdock.observability import restarts
from crossdock.observability.alerts import EXAMPLES, Found, Kind
from crossdock.sync.model import SyncRequest

#: How long the streams that exist are kept: to read them takes hundreds of files.
_STREAMS_EVERY_S = 300.0
#: How many connections are read again at each look: each is a request to Airflow, and there are looks every ten seconds.
_CREDENTIALS_AT_ONCE = 20
_FILE_URL = "file://"

Answer = TypeVar("Answer")


def thresholds() -> AlarmThresholds:
    """Read the limits beyond which an alert opens from the settings."""
    return AlarmThresholds(
        horizon_s=settings().event_horizon_alarm_s,
        volumes=VolumeLimits(settings().volume_factor, settings().volume_min_records),
        growth_gb_per_day=settings().database_growth_gb_per_day,
        backup=timedelta(hours=settings().backup_max_age_h),
    )


def conditions(
    *, connection_of: Callable[[str], Connection | None] = airflow_connection.find
) -> Mapping[Kind, Condition]:
    """Build the conditions that `maintenance.alarms.check` takes. Keep them: what is costly is found out at times only."""
    streams = _Kept(lambda _: scheduled_streams(), _STREAMS_EVERY_S)
    credentials = _Credentials(connection_of)
    declarations = _Declarations()
    return {
        Kind.STREAM_STALE: lambda work: stale_streams.stale(work, streams(work), datetime.now(UTC)),
        Kind.DECLARATION_INVALID: lambda _: declarations.invalid(),
        Kind.SECRET_EXPIRES: lambda work: _expiring(credentials.expiries(work), datetime.now(UTC)),
        Kind.DISK_LOW: lambda work: capacity.low_disks(work, folders(), settings().disk_free_percent),
        Kind.PROCESS_RESTARTING: lambda _: restarting(datetime.now(UTC)),
    }


class _Kept(Generic[Answer]):
    """Finds something out, and gives the same answer for a while."""

    def __init__(self, find: Callable[[Work], Answer], for_s: float) -> None:
        self._find, self._for_s = find, for_s
        self._found: tuple[float, Answer] | None = None

    def __call__(self, work: Work) -> Answer:
        if self._found is None or time.monotonic() >= self._found[0]:
            self._found = time.monotonic() + self._for_s, self._find(work)
        return self._found[1]


def scheduled_streams() -> list[ScheduledStream]:
    """List the streams that are synced on a schedule."""
    return [
        ScheduledStream(one.stream.integration, one.stream.dataset.name, one.schedule, _lease_shards(one.shards))
        for one in existing()
        if one.schedule
    ]


def _lease_shards(number: int) -> tuple[str, ...]:
    shards = [f"{each}/{number}" for each in range(1, number + 1)] if number > 1 else [None]
    return tuple(SyncRequest(shard=shard).lease_shard for shard in shards)


class _Declarations:
    """The mistakes of the declarations; read again only when a file has changed: hundreds take seconds."""

    def __init__(self) -> None:
        self._files: object = None
        self._found: dict[str, Found] = {}

    def invalid(self) -> Mapping[str, Found]:
        """Find the declarations with a mistake, by name."""
        now = [(path, path.stat().st_mtime_ns, path.stat().st_size) for path in files.paths().values()]
        if now != self._files:
            self._found = {error.path.stem: _found_in(error) for error in mistakes()}
            self._files = now
        return self._found


def _found_in(error: InvalidDeclaration) -> Found:
    """Name the places of the mistakes, and not what stands there: it may be a secret that belongs elsewhere."""
    name = error.path.stem
    return Found(
        f"The declaration {error.path.name} is not valid; its first mistake is in line {error.mistakes[0].line}. "
        "Its last valid version runs on, if it had one",
        len(error.mistakes),
        tuple(f"line {mistake.line}: {mistake.pointer or '/'}" for mistake in error.mistakes),
        name,
    )


class _Credentials:
    """
    When credentials end.

    Those of an integration that is new or was changed are read at once; of the others a few at each look, in turn, since
    somebody may change a connection in Airflow.
    """

    def __init__(self, connection_of: Callable[[str], Connection | None]) -> None:
        self._connection_of = connection_of
        #: Integration → what the registry had of it, and what was read; those that were read longest ago come first.
        self._known: dict[str, tuple[_Registered, list[tuple[str, datetime]]]] = {}

    def expiries(self, work: Work) -> list[tuple[str, str, datetime]]:
        """List what ends at a known time: integration, field, when."""
        registered = _registered(work)
        self._known = {name: known for name, known in self._known.items() if registered.get(name) == known[0]}
        again = list(self._known)[:_CREDENTIALS_AT_ONCE]
        for name in (*(name for name in registered if name not in self._known), *again):
            connection = self._connection_of(registered[name].connection_id)
            found = list(secret_expiry.expiries(connection).items()) if connection else []
            self._known.pop(name, None)
            self._known[name] = registered[name], found
        return [(name, field, at) for name, (_, found) in self._known.items() for field, at in found]


def restarting(now: datetime) -> Mapping[str, Found]:
    """Find the processes of this local stack that do not stay up, by name; none elsewhere."""
    file = restarts.local_file()
    found = restarts.read(file) if file else {}
    minutes = restarts.WINDOW.total_seconds() / 60
    return {
        name: Found(
            f"{name} does not stay up: it was started anew {recent} times within {minutes:.0f} minutes, "
            f"the last time because it {each.latest[-1].why}",
            recent,
            tuple(f"{one.at:%Y-%m-%d %H:%M:%S} UTC: {one.why}" for one in each.latest[-EXAMPLES:]),
        )
        for name, each in found.items()
        if (recent := restarts.alarming(each.latest, now))
    }


class _Registered(NamedTuple):
    connection_id: str
    #: Of the integration in the registry, which counts each change; 0 for one that is declared only.
    version: int
    credentials_set_at: datetime | None


def _registered(work: Work) -> dict[str, _Registered]:
    registered = {
        one.integration_id: _Registered(one.connection_id, one.version, one.credentials_set_at)
        for one in repository.list_all(work)
    }
    declared = {name: _Registered(prefixed(name), 0, None) for name in files.paths() if name not in registered}
    return {**registered, **declared}


def _expiring(known: list[tuple[str, str, datetime]], now: datetime) -> dict[str, Found]:
    """Find the integrations with credentials that end soon, or have ended."""
    soon = now + timedelta(days=settings().secret_expires_days)
    found: dict[str, list[tuple[datetime, str]]] = {}
    for integration, field, at in known:
        if at <= soon:
            found.setdefault(integration, []).append((at, field))
    return {
        integration: Found(
            f"The credentials of {integration} {'end' if min(ending)[0] > now else 'ended'} on "
            f"{min(ending)[0]:%Y-%m-%d %H:%M} UTC ({min(ending)[1]})",
            examples=tuple(f"{field}: {at:%Y-%m-%d %H:%M} UTC" for at, field in sorted(ending)),
            integration=integration,
        )
        for integration, ending in found.items()
    }


def folders() -> list[Path]:
    """List the local folders that the hub writes to; none for an object store."""
    urls = (settings().landing_url, settings().definitions_url)
    return [Path(url.removeprefix(_FILE_URL)) for url in urls if url.startswith(_FILE_URL)]
