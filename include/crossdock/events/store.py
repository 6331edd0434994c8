"""The event store: appended to, read in order below the horizon, kept for a while in partitions by month."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

import msgspec
import psycopg

from crossdock.core.errors import NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Work
from crossdock.events.model import ORIGIN, Event, NewEvent, Position

_COLUMNS = (
    "epoch, xid, position, event_id, source, type, subject, time, partition_key, correlation_id, schema_version, "
    "data::text"
)

_COPY = b"""
COPY event (source, type, subject, time, partition_key, correlation_id, schema_version, data) FROM STDIN (FORMAT binary)
"""
#: A json travels as its text, and is written as bytea.
_COPY_TYPES = ("text", "text", "text", "timestamptz", "text", "text", "int4", "bytea")

_INSERT = b"""
INSERT INTO event (event_id, source, type, subject, time, partition_key, correlation_id, schema_version, data)
VALUES (%(event_id)s, %(source)s, %(type)s, %(subject)s, %(time)s, %(partition_key)s, %(correlation_id)s,
        %(schema_version)s, %(data)s::json)
RETURNING epoch, xid, position
"""

#: Transactions below this one have all ended, so nothing can still appear before it. Both bounds compare whole rows,
#: and the order names the columns themselves: a cast in either would sort by text, and leave the index.
_HORIZON = "(epoch, xid) < (%(now_epoch)s::int, pg_snapshot_xmin(pg_current_snapshot()))"
_AFTER = "(epoch, xid, position) > (%(epoch)s::int, %(xid)s::text::xid8, %(position)s::bigint)"

#: Which key partition an event belongs to. `hashtext` gives 32 bits with a sign.
_OF_PARTITION = "(hashtext(partition_key) & 2147483647) %% %(partitions)s::int = %(partition)s::int"

#: The next events, and in the same snapshot the horizon: what is not found before it is not there. One journey to the
#: server, because on a busy machine each of them is a wait for a turn of two processes.
_NEXT = f"""
SELECT next.*, pg_snapshot_xmin(pg_current_snapshot()) FROM (VALUES (1)) AS once LEFT JOIN LATERAL (
    SELECT {_COLUMNS} FROM event
     WHERE {_AFTER} AND {_HORIZON} AND NOT silent AND type = ANY(%(types)s) {{of_partition}}
     ORDER BY event.epoch, event.xid, event.position LIMIT %(limit)s) AS next ON true
"""
_READ = _NEXT.format(of_partition=f"AND {_OF_PARTITION}").encode()
_READ_WHOLE = _NEXT.format(of_partition="").encode()

_PLACE = itemgetter(0, 1, 2)

#: The order must come out of the index: until the tables are analysed the planner would rather fetch everything behind
#: the cursor and sort it, for each batch again.
READER_SESSION = "-c enable_sort=off"
_IN_ORDER = b"SELECT set_config('enable_sort', 'off', true)"

_EPOCH = b"SELECT max(epoch) FROM event_epoch"

_FILTER = """
   AND (%(types)s::text[] IS NULL OR type = ANY(%(types)s)) AND (%(key)s::text IS NULL OR partition_key = %(key)s)
   AND (%(since)s::timestamptz IS NULL OR stored_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR stored_at < %(until)s) AND (%(silent)s OR NOT silent)
"""

_SELECT = f"""
SELECT {_COLUMNS} FROM event
 WHERE {_AFTER} AND {_HORIZON} {_FILTER}
 ORDER BY event.epoch, event.xid, event.position LIMIT %(limit)s
""".encode()

_COUNT = f"SELECT count(*) FROM event WHERE {_AFTER} AND {_HORIZON} {_FILTER}".encode()

_NEWEST = f"""
SELECT {_COLUMNS} FROM event
 WHERE {_HORIZON} {_FILTER}
 ORDER BY event.epoch DESC, event.xid DESC, event.position DESC LIMIT %(limit)s
""".encode()

_GET = f"SELECT {_COLUMNS} FROM event WHERE epoch = %(epoch)s AND position = %(position)s".encode()

#: Every full hour of the time, also those without events, so that silence can be seen.
_HOURLY = b"""
WITH hours AS (
    SELECT generate_series(date_trunc('hour', now()) - %(within)s::interval,
                           date_trunc('hour', now()) - interval '1 hour', interval '1 hour') AS hour),
counted AS (
    SELECT type, date_trunc('hour', stored_at) AS hour, count(*) AS events FROM event
     WHERE stored_at >= date_trunc('hour', now()) - %(within)s::interval GROUP BY 1, 2),
types AS (SELECT DISTINCT type FROM counted)
SELECT types.type, hours.hour, coalesce(counted.events, 0)
  FROM types CROSS JOIN (SELECT hour FROM hours UNION SELECT date_trunc('hour', now())) AS hours
  LEFT JOIN counted ON counted.type = types.type AND counted.hour = hours.hour
 ORDER BY types.type, hours.hour
"""

#: Who has held the horizon back the longest: an open transaction with a number, in any database of the server. Those of
#: other roles are hidden from whoever is not of pg_monitor; then what tells of them is the oldest event that waits.
_HORIZON_AGE = b"""
SELECT greatest(
    (SELECT extract(epoch FROM clock_timestamp() - min(xact_start)) FROM pg_stat_activity WHERE backend_xid IS NOT NULL),
    (SELECT extract(epoch FROM clock_timestamp() - stored_at) FROM event
      WHERE (epoch, xid) >= ((SELECT max(epoch) FROM event_epoch), pg_snapshot_xmin(pg_current_snapshot()))
      ORDER BY event.epoch, event.xid, event.position LIMIT 1),
    0)::float8
"""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which events a person means."""

    after: Position = ORIGIN
    types: tuple[str, ...] = ()
    key: str | None = None
    #: When they came into the store, not when they happened.
    since: datetime | None = None
    until: datetime | None = None
    #: Also those of backfills, which are told to nobody.
    silent: bool = False


def append(work: Work, events: Iterable[NewEvent]) -> None:
    """
    Append the hub's own events in their order, in the caller's transaction: a transactional outbox.

    A change and its event are committed together or not at all.
    """
    with work.cursor().copy(_COPY) as copy:
        copy.set_types(_COPY_TYPES)
        for event in events:
            copy.write_row(
                (
                    event.source,
                    event.type,
                    event.subject,
                    event.time,
                    event.partition_key,
                    event.correlation_id,
                    event.schema_version,
                    event.data.encode(),
                )
            )


#: What `append_selected` takes of each row, in this order.
_OUTBOX = b"INSERT INTO event (source, type, subject, time, partition_key, correlation_id, silent, data) "


def append_selected(work: Work, select: bytes, values: Mapping[str, Any]) -> None:
    """
    Append one event for each row of *select*, in the caller's transaction: a transactional outbox.

    A change and its event are committed together or not at all. *select* gives source, type, subject, time, partition
    key, correlation id, whether the event is silent, and its data as JSON.
    """
    work.execute(_OUTBOX + select, values)


def receive(work: Work, event: NewEvent) -> Position | None:
    """
    The place of an event from outside; None when the store has its (source, id) already, whatever its data say.

    Two that come at once are one: the second waits for the first's commit.
    """
    try:
        with work.transaction():
            row = cursor_of(work).execute(_INSERT, msgspec.structs.asdict(event)).fetchone()
    except psycopg.errors.UniqueViolation:
        return None
    return Position(*row) if row else None


def cursor_of(work: Work) -> psycopg.Cursor[tuple[Any, ...]]:
    """A cursor that takes rows in binary, at half the cost of text."""
    return work.cursor(binary=True)


def epoch(work: Work) -> int:
    """The epoch of what is written now."""
    row = work.execute(_EPOCH).fetchone()
    return int(row[0]) if row else 1


def read(
    work: Work,
    after: Position,
    *,
    types: Sequence[str],
    partition: int,
    partitions: int,
    limit: int,
    now_epoch: int,
) -> tuple[list[Event], Position]:
    """
    The next events of one key partition, in order, and where to go on. *work* is of a READER_SESSION.

    Less than *limit* means that there is no more below the horizon; then the place is the horizon
    itself, so that a subscriber who hears little does not read the same others again.
    """
    values = {
        "epoch": after.epoch,
        "xid": str(after.xid),
        "position": after.position,
        "now_epoch": now_epoch,
        "types": list(types),
        "partition": partition,
        "partitions": partitions,
        "limit": limit,
    }
    statement = _READ_WHOLE if partitions == 1 else _READ
    rows = cursor_of(work).execute(statement, values, prepare=True).fetchall()
    horizon = rows[0][-1]
    if rows[0][0] is None:
        rows = []
    # A join promises no order, though it keeps this one: a sort of what is sorted is one look at each.
    rows.sort(key=_PLACE)
    events = [Event(*row[:-1]) for row in rows]
    if len(events) == limit:
        return events, events[-1].at
    # Positions begin at 1: whatever transaction the horizon is will come after this place.
    return events, max(after, Position(now_epoch, horizon, 0), events[-1].at if events else ORIGIN)


def select(work: Work, wanted: Selection, *, limit: int) -> list[Event]:
    """Events that a person chose, in order."""
    work.execute(_IN_ORDER)
    return [Event(*row) for row in cursor_of(work).execute(_SELECT, _values(work, wanted, limit))]


def count(work: Work, wanted: Selection) -> int:
    row = work.execute(_COUNT, _values(work, wanted, 0)).fetchone()
    return int(row[0]) if row else 0


def newest(work: Work, wanted: Selection, *, limit: int) -> list[Event]:
    """The newest events that a person chose, the newest last."""
    rows = cursor_of(work).execute(_NEWEST, _values(work, wanted, limit)).fetchall()
    return [Event(*row) for row in reversed(rows)]


def get(work: Work, place: tuple[int, int]) -> Event:
    """
    The event at (epoch, position).

    Raises:
        NotFound: there is none, or its partition is past retention.

    """
    row = cursor_of(work).execute(_GET, {"epoch": place[0], "position": place[1]}).fetchone()
    if row is None:
        raise NotFound(f"There is no event {place[0]}-{place[1]}", hint=Hint(HintId.LIST_EVENTS))
    return Event(*row)


def hourly(work: Work, within: timedelta) -> dict[str, list[int]]:
    """By type, how many events came in each hour of the time *within*, oldest first; the last is the running hour."""
    found: dict[str, list[int]] = {}
    for type_, _, number in work.execute(_HOURLY, {"within": within}):
        found.setdefault(type_, []).append(number)
    return found


def horizon_age_s(work: Work) -> float:
    """
    How many seconds the oldest write transaction of the server is open: so long nothing newer is delivered.

    As a role that is not of pg_monitor, of others' transactions only how long they have kept an event waiting.
    """
    row = work.execute(_HORIZON_AGE).fetchone()
    return float(row[0]) if row else 0.0


def _values(work: Work, wanted: Selection, limit: int) -> dict[str, Any]:
    return {
        "epoch": wanted.after.epoch,
        "xid": str(wanted.after.xid),
        "position": wanted.after.position,
        "now_epoch": epoch(work),
        "types": list(wanted.types) or None,
        "key": wanted.key,
        "since": wanted.since,
        "until": wanted.until,
        "silent": wanted.silent,
        "limit": limit,
    }
