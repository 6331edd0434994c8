"""Monthly partitions of the event store: created ahead of time, dropped after their retention."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from psycopg import sql

from crossdock.core.errors import Terminal
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Work

_AHEAD = 2

_PARTITIONS = b"""
SELECT child.relname, pg_get_expr(child.relpartbound, child.oid)
  FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
 WHERE inhparent = 'event'::regclass ORDER BY child.relname
"""

#: A change of the table that waits for a long query keeps everybody from writing events meanwhile. It is tried again.
_PATIENCE = b"SET LOCAL lock_timeout = '2s'"

_BOUND = re.compile(r"FROM \((.+)\) TO \('(.+)'\)")

#: The columns by name: the first partition was created before the table and has them in another order.
_NAMES = (
    "epoch, xid, position, event_id, source, type, subject, time, partition_key, correlation_id, causation_id, "
    "trace_parent, schema_version, data, silent, stored_at"
)

#: A partition is kept while a consumer's cursor is before one of its events.
_UNREAD = """
SELECT EXISTS (
    SELECT FROM {partition} AS kept, event_consumer consumer
     WHERE (kept.epoch, kept.xid, kept.position) > (consumer.epoch, consumer.xid, consumer.position)
       AND NOT kept.silent)
"""

#: The last event of a partition that is dropped. Partitions end in the order of their months, and so do their events.
_NOTE_DROPPED = """
INSERT INTO event_dropped (epoch, xid, position)
SELECT epoch, xid, position FROM {partition} AS dropped
 ORDER BY dropped.epoch DESC, dropped.xid DESC, dropped.position DESC LIMIT 1
ON CONFLICT (only_row) DO UPDATE
   SET epoch = excluded.epoch, xid = excluded.xid, position = excluded.position, dropped_at = excluded.dropped_at
 WHERE (excluded.epoch, excluded.xid, excluded.position)
       > (event_dropped.epoch, event_dropped.xid, event_dropped.position)
"""


def partitions(work: Work) -> list[tuple[str, datetime | None]]:
    """List the partitions, each with its end (aware); None for the default one, which should be empty."""
    found = []
    for name, bound in work.execute(_PARTITIONS):
        match = _BOUND.search(bound)
        found.append((str(name), datetime.fromisoformat(match[2]).astimezone(UTC) if match else None))
    return found


def create_ahead(work: Work, now: datetime) -> list[str]:
    """Create the missing partitions of this month and the next two; return their names."""
    # Two workers that start at once must not both create them: the second waits here, then finds nothing missing.
    work.execute(b"SELECT pg_advisory_xact_lock(hashtext('crossdock-event-partitions'))")
    known = partitions(work)
    newest = max((end for _, end in known if end is not None), default=None)
    if newest is None:
        raise Terminal("The event store has no monthly partition: a migration has not run", hint=Hint(HintId.MIGRATE))
    made = []
    while newest < _month_after(now, _AHEAD + 1):
        name, until = f"event_{newest:%Y_%m}", _month_after(newest, 1)
        _create(work, name, newest, until)
        made.append(name)
        newest = until
    return made


def _create(work: Work, name: str, since: datetime, until: datetime) -> None:
    """
    Create the partition of [*since*, *until*) and move the rows of that time from the default partition.

    It is attached afterwards: created in place, it would conflict with rows of the default partition.
    """
    table = sql.Identifier(name)
    work.execute(_PATIENCE)
    work.execute(sql.SQL("CREATE TABLE {} (LIKE event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)").format(table))
    work.execute(
        sql.SQL(
            "WITH moved AS (DELETE FROM event_default WHERE stored_at >= %s AND stored_at < %s RETURNING *)"
            f" INSERT INTO {{}} ({_NAMES}) SELECT {_NAMES} FROM moved"
        ).format(table),
        [since, until],
    )
    bounds = sql.SQL("FOR VALUES FROM ({}) TO ({})").format(
        sql.Literal(since.isoformat()), sql.Literal(until.isoformat())
    )
    work.execute(sql.SQL("ALTER TABLE event ATTACH PARTITION {} ").format(table) + bounds)


def drop_past(work: Work, before: datetime) -> list[str]:
    """
    Drop the partitions that ended before *before* and that all consumers have passed; return their names.

    Deleting rows instead would leave their space to be vacuumed.
    """
    dropped = []
    work.execute(_PATIENCE)
    for name, end in partitions(work):
        if end is None or end > before:
            continue
        table = sql.Identifier(name)
        row = work.execute(sql.SQL(_UNREAD).format(partition=table)).fetchone()
        if row and not row[0]:
            work.execute(sql.SQL(_NOTE_DROPPED).format(partition=table))
            work.execute(sql.SQL("ALTER TABLE event DETACH PARTITION {}").format(table))
            work.execute(sql.SQL("DROP TABLE {}").format(table))
            dropped.append(name)
    return dropped


def _month_after(instant: datetime, months: int) -> datetime:
    month = instant.astimezone(UTC).month - 1 + months
    return datetime(instant.astimezone(UTC).year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


def begin(work: Work) -> datetime:
    """Find the instant before which the store has no events any more; the beginning of time while it has its first partition."""
    ends = {name: end for name, end in partitions(work) if end is not None}
    if "event_first" in ends or not ends:
        return datetime(1, 1, 1, tzinfo=UTC)
    return _month_after(min(ends.values()), -1)
