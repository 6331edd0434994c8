"""Find out whether the database takes writes: a full volume can be read, and even takes what fits into a page that is there."""

from __future__ import annotations

import psycopg

from crossdock.db.database import Store, StoreRefused, StoreUnavailable, Work, message_of

#: A new file on the server's volume, of about 140 KB; it is gone when the transaction is rolled back.
_WRITE = (
    "CREATE TEMP TABLE write_test (number bigint) ON COMMIT DROP",
    "INSERT INTO write_test SELECT generate_series(1, 4000)",
)


def refusal(store: Store) -> str | None:
    """
    Write something, take it back, and return why that failed; None where it worked.

    Also None where the role of the hub may not create such a table: then nobody knows.

    Raises:
        StoreUnavailable: the database cannot be reached.

    """
    with store.question() as work:
        connection = work
    try:
        with store.transaction():
            _write(connection)
    except StoreUnavailable as error:
        if connection.broken:
            raise
        return str(error)
    except StoreRefused:
        return None
    return None


def refusal_of(connection: Work) -> str | None:
    """Do the same on a connection of its own, to a database of another schema."""
    try:
        _write(connection)
    except psycopg.errors.InsufficientPrivilege:
        return None
    except psycopg.Error as error:
        return message_of(error)
    return None


def _write(connection: Work) -> None:
    with connection.transaction(force_rollback=True):
        for statement in _WRITE:
            connection.execute(statement)
