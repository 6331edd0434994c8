"""Find out whether the database takes writes: a full volume can be read, and even takes what fits into a page that is there."""

from __future__ import annotations

import psycopg

from crossdock.db.database import Store, StoreUnavailable

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
        with store.transaction() as work, work.transaction(force_rollback=True):
            for statement in _WRITE:
                work.execute(statement)
    except StoreUnavailable as error:
        if connection.broken:
            raise
        return str(error)
    except psycopg.errors.InsufficientPrivilege:
        return None
    return None
