"""
The epoch of the event store: it counts up when the store has come to a server whose transactions begin anew.

A dump that is loaded elsewhere brings the numbers of the old server's transactions; those of the new one are lower,
and its events would stand before all others, where no reader looks any more.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from crossdock.db.database import Work
from crossdock.events import partitions as event_partitions

#: Where the store is, and where its newest epoch began; and, for stores that were upgraded after they had moved, whether
#: there are events of transactions that this server has not had yet.
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


#: Whether the store is where its events were written.
_IS_HOME = b"""
SELECT (server, database) IS NOT DISTINCT FROM (hub_server(), (SELECT oid FROM pg_database WHERE datname = current_database()))
  FROM event_epoch ORDER BY epoch DESC LIMIT 1
"""


def begin_where_moved(connection: Work) -> None:
    """
    Begin a new epoch where the store has come to another server or database.

    Runs on each connection, since whoever connects first after a restore, a writer or a reader, must know. It costs 0.9 ms.
    """
    try:
        row = connection.execute(_IS_HOME).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction):
        return  # Not migrated yet: `migrate` begins the epoch when it has.
    if row == (False,):
        with connection.transaction():
            begin_after_restore(connection)


def begin_after_restore(work: Work) -> int | None:
    """
    The new epoch, when the store has come to another server or database since its newest one; else None.

    Nobody's event or place is in an empty store: that one moves without a new epoch, as a template does.
    """
    # Two that come at once begin one: the second waits here, then finds the store where it is.
    work.execute(b"SELECT pg_advisory_xact_lock(hashtext('crossdock-event-epoch'))")
    moved, from_elsewhere, is_used, epoch = work.execute(_MOVED).fetchone() or (False, False, False, 1)
    if not moved and not from_elsewhere:
        return None
    if not is_used:
        work.execute(_BEGIN, {"epoch": epoch})
        return None
    work.execute(_BEGIN, {"epoch": epoch + 1})
    tables = ["event", *(name for name, _ in event_partitions.partitions(work))]
    for name in tables:
        statement = sql.SQL("ALTER TABLE {} ALTER epoch SET DEFAULT {}")
        work.execute(statement.format(sql.Identifier(name), sql.Literal(epoch + 1)))
    return int(epoch) + 1
