"""The event store: append-only, read in order below the horizon, kept in monthly partitions for its retention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any

import msgspec
import psycopg

from crossdock.core.errors import Gone, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Work
from crossdock.events import counts_repository
from crossdock.events.model import END, ORIGIN, WEBHOOK_RECEIVED, Event, NewEvent, Position

_COLUMNS = (
    "epoch, xid, position, event_id, source, type, subject, time, partition_key, correlation_id, schema_version, "
    "data::text"
)

#: What a list needs of an event's data, which may be a megabyte: of a webhook, of which dataset its record is.
BRIEF_DATA = (
    f"CASE WHEN type = '{WEBHOOK_RECEIVED}' THEN json_build_object('dataset', data->'dataset')::text ELSE '{{}}' END"
)

_COPY = b"""
COPY event (source, type, subject, time, partition_key, correlation_id, schema_version, data) FROM STDIN (FORMAT binary)
"""
#: A json value is sent as its text, so it is written as bytea.
_COPY_TYPES = ("text", "text", "text", "timestamptz", "text", "text", "int4", "bytea")

_INSERT_ONLY = b"""
INSERT INTO event (event_id, source, type, subject, time, partition_key, correlation_id, schema_version, data)
VALUES (%(event_id)s, %(source)s, %(type)s, %(subject)s, %(time)s, %(partition_key)s, %(correlation_id)s,
        %(schema_version)s, %(data)s::json)
"""
_INSERT = _INSERT_ONLY + b"RETURNING epoch, xid, position"

_KNOWN = b"""
SELECT source, event_id FROM event_identity
 WHERE (event_id, source) IN (SELECT * FROM unnest(%(ids)s::text[], %(sources)s::text[]))
"""

#: The horizon: all transactions below it have ended, so no event can still appear before it. Both bounds compare whole
#: rows, and ORDER BY names the columns themselves: a cast in either would sort as text, without the index.
_HORIZON = "(epoch, xid) < (%(now_epoch)s::int, pg_snapshot_xmin(pg_current_snapshot()))"
_AFTER = "(epoch, xid, position) > (%(epoch)s::int, %(xid)s::text::xid8, %(position)s::bigint)"
_BEFORE = "(epoch, xid, position) < (%(end_epoch)s::int, %(end_xid)s::text::xid8, %(end_position)s::bigint)"

#: The key partition of an event. `hashtext` returns a signed 32-bit number.
_OF_PARTITION = "(hashtext(partition_key) & 2147483647) %% %(partitions)s::int = %(partition)s::int"

#: The next events and, in the same snapshot, the horizon: no other event is before it. One round trip, because on a busy
#: machine each one waits for two processes to be scheduled.
_NEXT = f"""
SELECT next.*, pg_snapshot_xmin(pg_current_snapshot()) FROM (VALUES (1)) AS once LEFT JOIN LATERAL (
    SELECT {_COLUMNS} FROM event
     WHERE {_AFTER} AND {_HORIZON} AND NOT silent AND type = ANY(%(types)s) {{of_partition}}
     ORDER BY event.epoch, event.xid, event.position LIMIT %(limit)s) AS next ON true
"""
_READ = _NEXT.format(of_partition=f"AND {_OF_PARTITION}").encode()
_READ_WHOLE = _NEXT.format(of_partition="").encode()

#: The same of all partitions and types, without the events themselves.
_NEWS = f"""
SELECT next.*, (SELECT max(epoch) FROM event_epoch), pg_snapshot_xmin(pg_current_snapshot())
  FROM (VALUES (1)) AS once LEFT JOIN LATERAL (
    SELECT type, (hashtext(partition_key) & 2147483647) %% %(partitions)s::int AS partition FROM event
     WHERE {_AFTER} AND {_HORIZON} AND NOT silent
     ORDER BY event.epoch, event.xid, event.position LIMIT %(limit)s) AS next ON true
""".encode()

_POSITION = itemgetter(0, 1, 2)

#: The index must give the order: until the tables are analysed, the planner would fetch everything after the cursor and
#: sort it, for each batch.
READER_SESSION = "-c enable_sort=off"
_IN_ORDER = b"SELECT set_config('enable_sort', 'off', true)"

#: The planner takes a filter on a key for a reason to read everything: it does not know how few ranges have the key.
_BY_INDEX = b"SELECT set_config('enable_seqscan', 'off', true)"
#: Only the filters by key, and by the time of a run, are left then: in the order of the events, five million would be read one by one.
_BY_KEY = (
    b"SELECT set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'off', true),"
    b" set_config('enable_indexonlyscan', 'off', true)"
)

_EPOCH = b"SELECT max(epoch) FROM event_epoch"

_FILTER = """
   AND (%(types)s::text[] IS NULL OR type = ANY(%(types)s)) AND (%(key)s::text IS NULL OR partition_key = %(key)s)
   AND (%(since)s::timestamptz IS NULL OR stored_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR stored_at < %(until)s) AND (%(silent)s OR NOT silent)
   AND (%(correlation_id)s::text IS NULL OR correlation_id = %(correlation_id)s)
"""

_SELECT = f"""
SELECT {_COLUMNS} FROM event
 WHERE {_AFTER} AND {_BEFORE} AND {_HORIZON} {_FILTER}
 ORDER BY event.epoch, event.xid, event.position LIMIT %(limit)s
""".encode()

#: What is below it has its place for good: no event can still appear there.
_NOW = b"SELECT (SELECT max(epoch) FROM event_epoch), pg_snapshot_xmin(pg_current_snapshot())"

_IS_GONE = b"""
SELECT EXISTS (SELECT FROM event_dropped
                WHERE (epoch, xid, position) > (%(epoch)s::int, %(xid)s::text::xid8, %(position)s::bigint))
"""

_COUNT = f"SELECT count(*) FROM event WHERE {_AFTER} AND {_BEFORE} AND {_HORIZON} {_FILTER}".encode()

_NEWEST = f"""
SELECT {_COLUMNS} FROM event
 WHERE {_BEFORE} AND {_HORIZON} {_FILTER}
 ORDER BY event.epoch DESC, event.xid DESC, event.position DESC LIMIT %(limit)s
""".encode()

#: The same by another index, for what one run wrote or one key has: of the place in the order the planner believes that hardly
#: an event is below the horizon, and would read all of its index. An expression has none.
_SELECT_OF_RUN, _NEWEST_OF_RUN, _COUNT_OF_KEY = (
    statement.replace(b"(epoch, xid", b"(epoch + 0, xid") for statement in (_SELECT, _NEWEST, _COUNT)
)

_GET = f"SELECT {_COLUMNS} FROM event WHERE epoch = %(epoch)s AND position = %(position)s".encode()

#: The age of the oldest open write transaction in any database of the server, which holds the horizon back. Without
#: pg_monitor, transactions of other roles are hidden; the oldest event that waits then shows their effect.
_HORIZON_AGE = b"""
SELECT greatest(
    (SELECT extract(epoch FROM clock_timestamp() - min(xact_start)) FROM pg_stat_activity WHERE backend_xid IS NOT NULL),
    (SELECT extract(epoch FROM clock_timestamp() - stored_at) FROM event
      WHERE (epoch, xid) >= ((SELECT max(epoch) FROM event_epoch), pg_snapshot_xmin(pg_current_snapshot()))
      ORDER BY event.epoch, event.xid, event.position LIMIT 1),
    0)::float8
"""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The events that a person selects."""

    after: Position = ORIGIN
    before: Position = END
    types: tuple[str, ...] = ()
    key: str | None = None
    #: When they came into the store, not when they happened.
    since: datetime | None = None
    until: datetime | None = None
    #: Include the silent events of backfills, which are not delivered to subscribers.
    silent: bool = False
    #: Only what one run or request wrote. It has no index: give *since* and *until*, too.
    correlation_id: str | None = None


def append(work: Work, events: Sequence[NewEvent]) -> None:
    """
    Append the hub's own events in their order, in the caller's transaction: a transactional outbox.

    A change and its event are committed together or not at all.
    """
    if len(events) == 1:
        # One round trip, and planned once for the connection; COPY takes three, and is parsed each time.
        work.execute(_INSERT_ONLY, msgspec.structs.asdict(events[0]), prepare=True)
        return
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
    Store an event of another system once; return its position, or None where (source, id) is known already.

    Idempotent, even if a repeated event has other data. Of two at once, the second waits for the first one's commit.
    """
    try:
        with work.transaction():
            row = cursor_of(work).execute(_INSERT, msgspec.structs.asdict(event)).fetchone()
    except psycopg.errors.UniqueViolation:
        return None
    return Position(*row) if row else None


def receive_all(work: Work, events: Sequence[NewEvent]) -> None:
    """
    Store the events of one delivery, each once, as `receive` does.

    Those that are known are left out in one question, and the others go in together; only where another delivery of them
    comes at once, each is stored by itself.
    """
    if len(events) == 1:
        receive(work, events[0])
        return
    known = _known(work, events)
    new = [event for event in events if (event.source, event.event_id) not in known]
    try:
        with work.transaction():
            work.cursor().executemany(_INSERT_ONLY, [msgspec.structs.asdict(event) for event in new])
    except psycopg.errors.UniqueViolation:
        for event in new:
            receive(work, event)


def _known(work: Work, events: Sequence[NewEvent]) -> set[tuple[str, str | None]]:
    names = {"sources": [event.source for event in events], "ids": [event.event_id for event in events]}
    return set(work.execute(_KNOWN, names).fetchall())


def cursor_of(work: Work) -> psycopg.Cursor[tuple[Any, ...]]:
    """Open a cursor that reads rows in binary format, at half the cost of text."""
    return work.cursor(binary=True)


def epoch(work: Work) -> int:
    """Read the current epoch."""
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
    Read the next events of one key partition in order; return them with the new cursor. *work* is of a READER_SESSION.

    Fewer than *limit* means that there are no more below the horizon. The cursor is then the horizon itself, so that a
    subscriber of rare events does not scan the others twice.
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
    # A join guarantees no order, though it keeps this one: sorting what is sorted already is cheap.
    rows.sort(key=_POSITION)
    events = [Event(*row[:-1]) for row in rows]
    if len(events) == limit:
        return events, events[-1].at
    # Positions begin at 1: all events of the horizon's transaction will come after this cursor.
    return events, max(after, Position(now_epoch, horizon, 0), events[-1].at if events else ORIGIN)


def news(work: Work, after: Position, *, partitions: int, limit: int) -> tuple[list[tuple[str, int]], Position]:
    """
    Read the type and key partition of the events after a position: at most *limit*. *work* is of a READER_SESSION.

    Return with them the horizon, before which all of them are.
    """
    values = {
        "epoch": after.epoch,
        "xid": str(after.xid),
        "position": after.position,
        "now_epoch": after.epoch,
        "partitions": partitions,
        "limit": limit,
    }
    rows = cursor_of(work).execute(_NEWS, values, prepare=True).fetchall()
    *_, now_epoch, xmin = rows[0]
    return [(type_, partition) for type_, partition, *_ in rows if type_ is not None], Position(now_epoch, xmin, 0)


def select(work: Work, selection: Selection, *, limit: int) -> list[Event]:
    """Read the events of *selection*, in order."""
    is_of_run = selection.correlation_id is not None
    work.execute(_BY_KEY if is_of_run else _IN_ORDER)
    statement = _SELECT_OF_RUN if is_of_run else _SELECT
    return [Event(*row) for row in cursor_of(work).execute(statement, _values(work, selection, limit))]


def horizon(work: Work) -> Position:
    """Read where the events end that have their place for good: each later one will come after this position."""
    now_epoch, xid = cursor_of(work).execute(_NOW).fetchone() or (1, 0)
    return Position(now_epoch, xid, 0)


def follow(work: Work, selection: Selection, *, limit: int) -> tuple[list[Event], Position]:
    """
    Read the next events of *selection* in order; return them with the position from which to go on.

    On the last page that is the horizon, so that one who waits for rare events neither reads the others twice nor falls
    behind the retention.

    Raises:
        Gone: events after *selection.after* were deleted, after their retention.

    """
    # Read before the events: what is committed in between is among them, or comes after this position.
    now = horizon(work)
    events = select(work, selection, limit=limit)
    # Read after the events: they may have waited for the one who deletes the partition before them.
    row = work.execute(_IS_GONE, _position_values(selection.after)).fetchone()
    if row and row[0] and selection.after != ORIGIN:
        raise Gone("Events after this position were deleted after their retention", hint=Hint(HintId.FOLLOW_AGAIN))
    last = events[-1].at if events else selection.after
    return events, last if len(events) == limit else max(last, now)


def count(work: Work, selection: Selection) -> int:
    """
    Count the events of *selection*, by the hour where they are counted.

    Those of one key are found by its index: a sequential scan of the store would take seconds.
    """
    if selection.key is not None or selection.after != ORIGIN:
        work.execute(_BY_KEY if selection.key is not None else _BY_INDEX)
        return _count_each(work, selection)
    cursor = counts_repository.counted_to(work)
    counted = counts_repository.count(
        work,
        cursor,
        types=selection.types or None,
        silent=selection.silent,
        since=selection.since,
        until=selection.until,
    )
    if cursor <= selection.before:
        return counted + _count_each(work, msgspec.structs.replace(selection, after=cursor))
    counted_too = cursor._replace(position=cursor.position + 1)
    return counted - _count_each(work, msgspec.structs.replace(selection, after=selection.before, before=counted_too))


def _count_each(work: Work, selection: Selection) -> int:
    statement = _COUNT if selection.key is None else _COUNT_OF_KEY
    row = work.execute(statement, _values(work, selection, 0)).fetchone()
    return int(row[0]) if row else 0


def newest(work: Work, selection: Selection, *, limit: int, is_brief: bool = False) -> list[Event]:
    """
    Read the latest events of *selection* (before its end, if it has one), the newest last.

    *is_brief*: without their data, for lists; a webhook's names its dataset.
    """
    statement = _NEWEST
    # A key rarely has as many events as are asked for: in their order, all would be read to find that out.
    if selection.correlation_id is not None or selection.key is not None:
        work.execute(_BY_KEY)
        statement = _NEWEST_OF_RUN
    else:
        work.execute(_IN_ORDER)
    if is_brief:
        statement = statement.replace(b"data::text", BRIEF_DATA.encode())
    rows = cursor_of(work).execute(statement, _values(work, selection, limit)).fetchall()
    return [Event(*row) for row in reversed(rows)]


def get(work: Work, event_id: tuple[int, int]) -> Event:
    """
    Read the event with that (epoch, position).

    Raises:
        NotFound: there is no such event, or its partition was dropped after its retention.

    """
    row = cursor_of(work).execute(_GET, {"epoch": event_id[0], "position": event_id[1]}).fetchone()
    if row is None:
        raise NotFound(f"Event {event_id[0]}-{event_id[1]} does not exist", hint=Hint(HintId.LIST_EVENTS))
    return Event(*row)


def horizon_age_s(work: Work) -> float:
    """
    Measure the age of the oldest open write transaction of the server: no newer event is delivered before it ends.

    A role without pg_monitor sees other roles' transactions only by the events that they delay.
    """
    row = work.execute(_HORIZON_AGE).fetchone()
    return float(row[0]) if row else 0.0


def _position_values(position: Position) -> dict[str, Any]:
    return {"epoch": position.epoch, "xid": str(position.xid), "position": position.position}


def _values(work: Work, selection: Selection, limit: int) -> dict[str, Any]:
    return {
        **_position_values(selection.after),
        "end_epoch": selection.before.epoch,
        "end_xid": str(selection.before.xid),
        "end_position": selection.before.position,
        "now_epoch": epoch(work),
        "types": list(selection.types) or None,
        "key": selection.key,
        "since": selection.since,
        "until": selection.until,
        "silent": selection.silent,
        "correlation_id": selection.correlation_id,
        "limit": limit,
    }
