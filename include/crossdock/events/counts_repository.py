"""
SQL of the counts of events by hour: what has been counted once is not counted again.

Housekeeping counts what has come in since it last did. A reader adds what has come in since then, which is exact at any
time, and takes longer the longer nobody has counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from crossdock.db.database import Work
from crossdock.events.model import Position

_HOUR = "date_trunc('hour', stored_at, 'UTC')"
_CURSOR = b"SELECT epoch, xid, position FROM event_counted"

#: In the order of the index, without a sort: the limit ends it early.
_COUNT_NEXT = f"""
WITH next AS MATERIALIZED (
    SELECT epoch, xid, position, type, silent, {_HOUR} AS hour FROM event
     WHERE (epoch, xid, position) > (%(epoch)s::int, %(xid)s::text::xid8, %(position)s::bigint)
       AND (epoch, xid) < ((SELECT max(epoch) FROM event_epoch), pg_snapshot_xmin(pg_current_snapshot()))
     ORDER BY event.epoch, event.xid, event.position LIMIT %(limit)s),
counted AS (
    INSERT INTO event_hour AS known (hour, type, silent, events)
    SELECT hour, type, silent, count(*) FROM next GROUP BY hour, type, silent
    ON CONFLICT (hour, type, silent) DO UPDATE SET events = known.events + excluded.events),
last AS (SELECT epoch, xid, position FROM next ORDER BY next.epoch DESC, next.xid DESC, next.position DESC LIMIT 1),
moved AS (
    UPDATE event_counted SET epoch = last.epoch, xid = last.xid, position = last.position FROM last)
SELECT count(*) FROM next
""".encode()

_FORGET = b"DELETE FROM event_hour WHERE hour < %(before)s"

#: Counted, and not counted yet. Every full hour of the period, also hours without events, so that a gap can be seen.
_HOURLY = f"""
WITH found AS (
    SELECT type, hour, events FROM event_hour WHERE hour >= date_trunc('hour', now(), 'UTC') - %(within)s::interval
    UNION ALL
    SELECT type, {_HOUR}, count(*) FROM event
     WHERE (epoch, xid, position) > (%(epoch)s::int, %(xid)s::text::xid8, %(position)s::bigint)
       AND stored_at >= date_trunc('hour', now(), 'UTC') - %(within)s::interval
     GROUP BY 1, 2),
hours AS (
    SELECT generate_series(date_trunc('hour', now(), 'UTC') - %(within)s::interval,
                           date_trunc('hour', now(), 'UTC'), interval '1 hour') AS hour),
types AS (SELECT DISTINCT type FROM found)
SELECT types.type, hours.hour, coalesce(sum(found.events), 0)::bigint
  FROM types CROSS JOIN hours LEFT JOIN found ON found.type = types.type AND found.hour = hours.hour
 GROUP BY types.type, hours.hour ORDER BY types.type, hours.hour
""".encode()

#: The last full hour and the last 24, each beside the same of the week before. What is not counted yet is of this week.
_COMPARED = f"""
WITH hour AS (SELECT date_trunc('hour', now(), 'UTC') AS now),
found AS (
    SELECT type, hour AS at, events FROM event_hour WHERE hour >= (SELECT now FROM hour) - interval '8 days'
    UNION ALL
    SELECT type, {_HOUR}, count(*) FROM event
     WHERE (epoch, xid, position) > (%(epoch)s::int, %(xid)s::text::xid8, %(position)s::bigint)
       AND stored_at >= (SELECT now FROM hour) - interval '24 hours'
     GROUP BY 1, 2),
failures AS (
    SELECT type, count(*) FILTER (WHERE first_seen_at >= hour.now - interval '1 hour') AS hour,
           count(*) FILTER (WHERE first_seen_at < hour.now - interval '7 days') AS hour_before
      FROM hour, dead_letter
     WHERE (first_seen_at >= hour.now - interval '1 hour' AND first_seen_at < hour.now)
        OR (first_seen_at >= hour.now - interval '169 hours' AND first_seen_at < hour.now - interval '7 days')
     GROUP BY type),
events AS (
    SELECT type, sum(events) FILTER (WHERE at = hour.now - interval '1 hour') AS hour,
           sum(events) FILTER (WHERE at = hour.now - interval '169 hours') AS hour_before,
           sum(events) FILTER (WHERE at >= hour.now - interval '24 hours' AND at < hour.now) AS day,
           sum(events) FILTER (WHERE at >= hour.now - interval '192 hours' AND at < hour.now - interval '168 hours')
               AS day_before
      FROM hour, found GROUP BY type)
SELECT type, coalesce(events.hour, 0)::bigint, coalesce(events.hour_before, 0)::bigint, coalesce(day, 0)::bigint,
       coalesce(day_before, 0)::bigint, coalesce(failures.hour, 0)::bigint, coalesce(failures.hour_before, 0)::bigint
  FROM events FULL JOIN failures USING (type)
 WHERE coalesce(events.hour, 0) + coalesce(events.hour_before, 0) + coalesce(day, 0) + coalesce(day_before, 0)
       + coalesce(failures.hour, 0) + coalesce(failures.hour_before, 0) > 0
 ORDER BY type
""".encode()

#: Of whole hours that are counted.
_SUM = b"""
SELECT coalesce(sum(events), 0)::bigint FROM event_hour
 WHERE (%(types)s::text[] IS NULL OR type = ANY(%(types)s)) AND (%(silent)s OR NOT silent)
   AND (%(since)s::timestamptz IS NULL OR hour >= %(since)s) AND (%(until)s::timestamptz IS NULL OR hour < %(until)s)
"""

#: Of parts of hours that are counted.
_PART = b"""
SELECT count(*) FROM event
 WHERE stored_at >= %(since)s AND stored_at < %(until)s
   AND (epoch, xid, position) <= (%(epoch)s::int, %(xid)s::text::xid8, %(position)s::bigint)
   AND (%(types)s::text[] IS NULL OR type = ANY(%(types)s)) AND (%(silent)s OR NOT silent)
"""

_EARLIEST = b"""
SELECT min(hour) FROM event_hour WHERE type = ANY(%(types)s) AND NOT silent AND hour >= %(since)s
"""


def count_next(work: Work, *, limit: int) -> int:
    """Count the next events below the horizon, in their order; return how many. Fewer than *limit* means that all are counted."""
    cursor = _locked(work)
    if cursor is None:
        return 0
    work.execute(b"SELECT set_config('enable_sort', 'off', true)")
    row = work.execute(_COUNT_NEXT, {**_of(cursor), "limit": limit}).fetchone()
    return int(row[0]) if row else 0


def _locked(work: Work) -> Position | None:
    """Lock the cursor; None while another process counts."""
    row = work.execute(_CURSOR + b" FOR UPDATE SKIP LOCKED").fetchone()
    return Position(*row) if row else None


def counted_to(work: Work) -> Position:
    """Read the place of the last event that is counted."""
    row = work.execute(_CURSOR).fetchone()
    return Position(*row) if row else Position(0, 0, 0)


def forget(work: Work, before: datetime) -> None:
    """Forget the counts of hours before that instant, whose events are deleted."""
    work.execute(_FORGET, {"before": before})


def hourly(work: Work, within: timedelta) -> dict[str, list[int]]:
    """Count the events by type in each hour of the time *within*, oldest first; the last is the current hour."""
    found: dict[str, list[int]] = {}
    for type_, _, number in work.execute(_HOURLY, {"within": within, **_of(counted_to(work))}):
        found.setdefault(type_, []).append(number)
    return found


class Compared(msgspec.Struct, frozen=True):
    """The events of one type and the deliveries of it that began to fail, beside those of the week before."""

    type: str
    #: In the last full hour, and in the same hour of last week.
    hour: int
    hour_before: int
    #: In the 24 hours before this one, and in those of last week.
    day: int
    day_before: int
    #: Deliveries that began to fail in the last full hour, and in the same hour of last week.
    failed: int
    failed_before: int


def compared(work: Work) -> list[Compared]:
    """Compare the volumes and failures of each type with those of the same hours of last week."""
    return [Compared(*row) for row in work.execute(_COMPARED, _of(counted_to(work)))]


def count(
    work: Work,
    cursor: Position,
    *,
    types: Sequence[str] | None,
    silent: bool,
    since: datetime | None,
    until: datetime | None,
) -> int:
    """Count the events up to *cursor*, which must be `counted_to`, by the hours, and the parts of hours at both ends."""
    first, last = _next_hour(since), _hour(until)
    chosen = {"types": list(types) if types else None, "silent": silent}
    if since and until and (first is None or last is None or first > last):
        return _part(work, cursor, since, until, chosen)
    row = work.execute(_SUM, {**chosen, "since": first, "until": last}).fetchone()
    number = int(row[0]) if row else 0
    if since and first and since < first:
        number += _part(work, cursor, since, first, chosen)
    if until and last and last < until:
        number += _part(work, cursor, last, until, chosen)
    return number


def waiting_since(work: Work, types: Sequence[str], since: datetime) -> tuple[int, datetime | None]:
    """Count the events of *types* from the hour of *since* on, an upper bound; and find the first hour that has one."""
    hour = _hour(since)
    values = {"types": list(types), "silent": False, "since": hour, "until": None}
    (number,) = work.execute(_SUM, values).fetchone() or (0,)
    (first,) = work.execute(_EARLIEST, values).fetchone() or (None,)
    return int(number), first


def _part(work: Work, cursor: Position, since: datetime, until: datetime, chosen: Mapping[str, object]) -> int:
    row = work.execute(_PART, {**chosen, **_of(cursor), "since": since, "until": until}).fetchone()
    return int(row[0]) if row else 0


def _hour(instant: datetime | None) -> datetime | None:
    """Cut an instant to its hour: UTC has no half ones."""
    return instant and instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _next_hour(instant: datetime | None) -> datetime | None:
    hour = _hour(instant)
    return hour if hour is None or hour == instant else hour + timedelta(hours=1)


def _of(cursor: Position) -> dict[str, object]:
    return {"epoch": cursor.epoch, "xid": str(cursor.xid), "position": cursor.position}
