"""Streams that have not ended well within twice their schedule, for whatever reason: failed, paused, or never started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from crossdock.core.cron import times_before
from crossdock.db.database import Work
from crossdock.db.leases import stream_id
from crossdock.observability.alerts import Found

#: How long a run that is due now may take before its predecessor counts as missed; less for a dense schedule.
_LONGEST_GRACE = timedelta(minutes=15)


class ScheduledStream(msgspec.Struct, frozen=True):
    """A stream with a schedule, as the installation has it now."""

    integration: str
    dataset: str
    #: When it is synced, as cron.
    schedule: str
    #: What each of its runs holds its lease on.
    shards: tuple[str, ...]

    @property
    def stream(self) -> str:
        """`<integration>.<dataset>`."""
        return stream_id(self.integration, self.dataset)


class _Last(msgspec.Struct):
    """What is known of one stream."""

    #: When the hub first saw it with this schedule.
    since: datetime
    #: When each of its shards last ended well; None for one that never did.
    ended: list[datetime | None]

    @property
    def well_at(self) -> datetime | None:
        """When all of it was last read."""
        known = [at for at in self.ended if at is not None]
        return min(known) if known and len(known) == len(self.ended) else None


_WATCHED = b"SELECT stream, schedule FROM scheduled_stream"

_FORGET = b"DELETE FROM scheduled_stream WHERE stream <> ALL(%(streams)s)"

#: Another schedule is waited for from now on.
_WATCH = b"""
INSERT INTO scheduled_stream (stream, schedule)
SELECT * FROM unnest(%(streams)s::text[], %(schedules)s::text[])
ON CONFLICT (stream) DO UPDATE SET schedule = excluded.schedule, since = clock_timestamp()
 WHERE scheduled_stream.schedule <> excluded.schedule
"""

#: Only a run that read everything up to its time: not one with keys, a limit or an end. A run of the whole stream is one of
#: each shard, too.
_LAST = b"""
SELECT stream, since,
       (SELECT max(finished_at) FROM (
            (SELECT finished_at FROM sync_run run
              WHERE run.integration = asked.integration AND run.dataset = asked.dataset AND run.shard = asked.shard
                AND state IN ('done', 'partial') AND moves_watermark ORDER BY started_at DESC LIMIT 1)
            UNION ALL
            (SELECT finished_at FROM sync_run run
              WHERE run.integration = asked.integration AND run.dataset = asked.dataset AND run.shard = 'all'
                AND state IN ('done', 'partial') AND moves_watermark ORDER BY started_at DESC LIMIT 1)) AS ended)
  FROM unnest(%(streams)s::text[], %(integrations)s::text[], %(datasets)s::text[], %(shards)s::text[])
       AS asked(stream, integration, dataset, shard)
  JOIN scheduled_stream USING (stream)
"""

_PAUSED = b"SELECT integration_id FROM integration WHERE state = 'paused'"


def stale(work: Work, streams: Sequence[ScheduledStream], now: datetime) -> dict[str, Found]:
    """Find the streams that are stale at *now*, by their IDs. One that never ran counts from when the hub first saw it."""
    _watch(work, streams)
    last = _last(work, streams)
    paused = {name for (name,) in work.execute(_PAUSED)}
    # Most streams share their schedule with others, and to compute its times is what costs here.
    needed_at = {schedule: _needed_at(schedule, now) for schedule in {one.schedule for one in streams}}
    found = {}
    for one in streams:
        known = last.get(one.stream)
        if known and (known.well_at or known.since) < needed_at[one.schedule]:
            found[one.stream] = Found(
                _message(one, known, is_paused=one.integration in paused),
                integration=one.integration,
                stream=one.stream,
            )
    return found


def _needed_at(schedule: str, now: datetime) -> datetime:
    """Compute since when a run must have ended well: two were due since, and the second had time to end as well."""
    latest, before = times_before(schedule, now, 2)
    _, needed_at = times_before(schedule, now - min((latest - before) / 2, _LONGEST_GRACE), 2)
    return needed_at


def _message(one: ScheduledStream, known: _Last, *, is_paused: bool) -> str:
    since = f"since {known.well_at:%Y-%m-%d %H:%M} UTC" if known.well_at else "yet"
    why = f". {one.integration} is paused" if is_paused else ""
    return f"No sync of {one.stream} has ended well {since}, and its schedule is {one.schedule}{why}"


def _watch(work: Work, streams: Sequence[ScheduledStream]) -> None:
    """Keep since when each of *streams* has its schedule. Writes only what changed: this runs every half minute."""
    given = {one.stream: one.schedule for one in streams}
    known: Mapping[str, str] = dict(work.execute(_WATCHED).fetchall())
    if given == known:
        return
    work.execute(_FORGET, {"streams": list(given)})
    work.execute(_WATCH, {"streams": list(given), "schedules": list(given.values())})


def _last(work: Work, streams: Iterable[ScheduledStream]) -> dict[str, _Last]:
    asked = [(one.stream, one.integration, one.dataset, shard) for one in streams for shard in one.shards]
    columns = zip(("streams", "integrations", "datasets", "shards"), zip(*asked, strict=True), strict=True)
    found: dict[str, _Last] = {}
    if not asked:
        return found
    for stream, since, ended_at in work.execute(_LAST, {name: list(values) for name, values in columns}):
        found.setdefault(stream, _Last(since, [])).ended.append(ended_at)
    return found
