"""
The epoch of the event store: it counts up when the store moves to a server that numbers transactions from the start.

A dump that is restored on another server keeps the transaction numbers of the old one. Those of the new server are lower,
so without an epoch its events would sort before all others, behind the cursors of all consumers.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from crossdock.db.database import Work
from crossdock.events import partitions as event_partitions

#: Does the store run on another server than the one where its newest epoch began? And, for a store that was upgraded after
#: it had moved: does it have events of transactions that this server has not reached yet?
_MOVED = b"""
SELECT (newest.server, newest.database) IS DISTINCT FROM (hub_server(), here.oid),
       coalesce((SELECT max(xid) FROM event WHERE epoch = newest.epoch) >= pg_snapshot_xmax(pg_current_snapshot()), false),
       EXISTS (SELECT FROM event) OR EXISTS (SELECT FROM event_consumer WHERE epoch > 0), newest.epoch
  FROM pg_database AS here, (SELECT * FROM event_epoch ORDER BY epoch DESC LIMIT 1) AS newest
 WHERE datname = current_database()
"""

_BEGIN = b"""
INSERT INTO event_epoch (epoch, server, database)
SELECT %(epoch)s, hub_server(), oid FROM pg_database WHERE datname = current_database()
ON CONFLICT (epoch) DO UPDATE SET server = excluded.server, database = excluded.database
"""

_NEWEST_AND_NOW = b"""
SELECT max(epoch), extract(epoch FROM clock_timestamp() - timestamptz '2026-01-01T00:00:00Z')::integer FROM event_epoch
"""

#: True on the server and database where the events were written.
_IS_HOME = b"""
SELECT (server, database) IS NOT DISTINCT FROM (hub_server(), (SELECT oid FROM pg_database WHERE datname = current_database()))
  FROM event_epoch ORDER BY epoch DESC LIMIT 1
"""


def begin_where_moved(connection: Work) -> None:
    """
    Begin a new epoch when the store has moved to another server or database.

    Runs on each connection, since the first one after a restore, of a publisher or a consumer, must do it. Costs 0.9 ms.
    """
    try:
        row = connection.execute(_IS_HOME).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction):
        return  # Not migrated yet: `migrate` begins the epoch afterwards.
    if row == (False,):
        with connection.transaction():
            begin_after_restore(connection)


def begin_after_restore(work: Work) -> int | None:
    """
    Begin a new epoch when the store has moved to another server or database; return it, or None.

    An empty store has no event and no cursor: it moves without a new epoch, as a template database does.
    """
    # Two callers at once begin one epoch: the second waits here, then finds that the store has not moved.
    work.execute(b"SELECT pg_advisory_xact_lock(hashtext('crossdock-event-epoch'))")
    moved, is_ahead, is_used, epoch = work.execute(_MOVED).fetchone() or (False, False, False, 1)
    if not moved and not is_ahead:
        return None
    if not is_used:
        work.execute(_BEGIN, {"epoch": epoch})
        return None
    return _begin(work, int(epoch) + 1)


def begin_after_going_back(work: Work) -> int:
    """
    Begin a new epoch in a store that a physical backup has taken back in time; return it. Call it once for each restore.

    Such a store is where it was and goes on counting from the backup on: without a new epoch its next events would get the
    IDs of those that it has lost, which others may have seen. It is numbered by the time (seconds since the beginning of
    2026), for one backup may be restored twice.
    """
    (newest, seconds) = work.execute(_NEWEST_AND_NOW).fetchone() or (1, 0)
    return _begin(work, max(int(newest) + 1, int(seconds)))


def _begin(work: Work, epoch: int) -> int:
    work.execute(_BEGIN, {"epoch": epoch})
    tables = ["event", *(name for name, _ in event_partitions.partitions(work))]
    for name in tables:
        statement = sql.SQL("ALTER TABLE {} ALTER epoch SET DEFAULT {}")
        work.execute(statement.format(sql.Identifier(name), sql.Literal(epoch)))
    return epoch
