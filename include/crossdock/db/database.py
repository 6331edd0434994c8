"""Connections and transactions of the hub's database."""

from __future__ import annotations

import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

import psycopg
from psycopg.rows import TupleRow
from psycopg.types.numeric import Int8BinaryLoader, IntLoader

from crossdock.core.errors import HubUnavailable, Terminal
from crossdock.core.hints import Hint, HintId
from crossdock.db import airflow_lookup

#: PostgreSQL's oid of the type xid8 (a transaction's id), for which psycopg has no loader.
_XID8 = 5069

#: An open transaction: the first argument of every function that reads or writes the database.
Work = psycopg.Connection[TupleRow]


class StoreUnavailable(HubUnavailable):
    """The hub's database cannot be reached, or was too busy for this transaction. Nothing was written."""


class StoreRefused(Terminal):
    """The database refused a statement: our code has a defect, or a migration is missing. Nothing was written."""


class ValueRefused(StoreRefused):
    """The database refused a value of a row: there is a record that it cannot store. Nothing was written."""


#: Options of every session. Rows are looked up by key and are in memory or on flash, so an index costs little more than
#: a scan; with the default for spinning disks, PostgreSQL reads a whole table to change one row in a hundred.
_SESSION = "-c timezone=UTC -c random_page_cost=1.1"


#: While the database is away.
_ASK_AGAIN_S = 1.0


class Store:
    """
    The hub's database, with one connection for each thread.

    Every table is in *schema* and is found by the search path, so that two hubs (or a trial) can
    share a server. Open it as late as possible and close it: an open write transaction holds back
    every event consumer on the server.
    """

    def __init__(self, dsn: str, *, schema: str = "hub", session: str = "", connect_timeout_s: int = 10) -> None:
        """
        Configure a store; nothing is opened yet.

        Args:
            dsn: The database.
            schema: That of the tables.
            session: PostgreSQL settings for its connections only, as `-c name=value`.
            connect_timeout_s: How long a connection may take; psycopg takes anything below 2 for 2.

        """
        self.dsn = dsn
        self.schema = schema
        self._session = f"{_SESSION} {session}"
        self._connect_timeout_s = connect_timeout_s
        self._is_cut = False
        self._transactions = 0
        #: The number of the transaction (or the question) that is open, or being opened; 0 where none is.
        self.transaction_no = 0
        self._connection: psycopg.Connection[TupleRow] | None = None

    @classmethod
    def from_connection(cls, conn_id: str) -> Store:
        """
        Open the store of an Airflow connection of type `postgres`. Call it inside a task.

        Raises:
            ConnectionUnreadable: Airflow does not answer.
            StoreUnavailable: Airflow has no such connection. It is the installation's: no event and no run is to blame.

        """
        connection = airflow_lookup.find(conn_id)
        if connection is None:
            raise StoreUnavailable(f"Airflow has no connection {conn_id!r} to the hub's database: create it")
        dsn = psycopg.conninfo.make_conninfo(
            host=connection.host,
            port=connection.port,
            user=connection.login,
            password=connection.password,
            dbname=connection.schema,
            # The others of libpq's options are for the machine on which they are set.
            require_auth=connection.extra_dejson.get("require_auth"),
        )
        return cls(dsn)

    @contextmanager
    def transaction(self) -> Iterator[Work]:
        """
        Open a transaction (the unit of work): committed at the end of the block, rolled back on any error.

        Raises:
            StoreUnavailable: no connection, a lock timeout or a deadlock. Safe to run again.
            StoreRefused: the statement itself is wrong for this database.

        """
        with translated_errors(), self._counted():
            connection = self._open()
            with connection.transaction():
                yield connection

    @contextmanager
    def question(self) -> Iterator[Work]:
        """
        Give the connection for single statements that only read: a transaction around one costs two more round trips.

        Raises:
            StoreUnavailable, StoreRefused: as `transaction`.

        """
        with translated_errors(), self._counted():
            yield self._open()

    def wait_until_it_answers(self, at_most_s: float) -> None:
        """
        Wait while the database is away. For a task's start: a try that fails at once would use up its retries in seconds.

        Raises:
            StoreUnavailable: it did not answer in time.

        """
        until = time.monotonic() + at_most_s
        while True:
            try:
                with self.question() as work:
                    work.execute("SELECT 1")
                return
            except StoreUnavailable:
                if time.monotonic() >= until:
                    raise
                time.sleep(_ASK_AGAIN_S)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        outer = self.transaction_no
        self._transactions += 1
        self.transaction_no = outer or self._transactions
        try:
            yield
        finally:
            self.transaction_no = outer

    def cut(self) -> None:
        """
        Shut the connection's socket down, from another thread than that which waits for it: the wait ends as if the server were gone.

        It may be called while that thread does anything; it then sees StoreUnavailable, and nobody knows whether it committed.
        """
        self._is_cut = True
        connection = self._connection
        if connection is None:  # still connecting: `_open` looks afterwards
            return
        with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as shared:
            shared.shutdown(socket.SHUT_RDWR)

    def another(self, *, session: str = "") -> Store:
        """Open the same database on a separate connection, for another thread or with other *session* settings."""
        return Store(self.dsn, schema=self.schema, session=session)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> psycopg.Connection[TupleRow]:
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = psycopg.connect(
                self.dsn,
                autocommit=True,
                connect_timeout=self._connect_timeout_s,
                application_name="crossdock",
                options=f"-c search_path={self.schema} {self._session}",
            )
            if self._is_cut:
                self.close()
                raise StoreUnavailable("The connection to the hub's database came too late")
            self._connection.adapters.register_loader(_XID8, IntLoader)
            self._connection.adapters.register_loader(_XID8, Int8BinaryLoader)
            for check in _CHECKS:
                check(self._connection)
        return self._connection


#: Called with each new connection, before anything else uses it.
_CHECKS: list[Callable[[Work], None]] = []


def on_connect(check: Callable[[Work], None]) -> None:
    """Run *check* on each connection that a `Store` opens from now on, in this process."""
    _CHECKS.append(check)


async def takes_connections(dsn: str) -> bool:
    """Open a connection and ask for nothing: a server of which only the postmaster hangs serves nobody new. It may wait for ever."""
    try:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            await connection.execute("SELECT 1")
    except (psycopg.Error, OSError):
        return False
    return True


class SharedStore(Store):
    """
    A store for threads that share one connection, with short transactions that are never nested.

    For the queries of each call to an external system, where one connection per thread would be too many.
    """

    def __init__(self, dsn: str, *, schema: str = "hub") -> None:
        super().__init__(dsn, schema=schema)
        self._lock = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[Work]:
        with self._lock, super().transaction() as work:
            yield work


#: Errors that psycopg classifies as errors of the statement although they are transient: a worker slept in its
#: transaction, a standby has not taken over yet, a connection was closed.
_TRANSIENT = (
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.SnapshotTooOld,
    psycopg.InterfaceError,
)
#: The opposite: classified as transient although they stay. By SQLSTATE class (a program limit, an error of a routine, a
#: savepoint or a foreign table), and some of class 55, in which a lock timeout is transient.
_REFUSED_CLASSES = frozenset({"27", "2F", "38", "39", "3B", "54", "HV"})
_REFUSED_STATES = frozenset({"55000", "55P02", "55P04"})


def is_transient(error: psycopg.Error) -> bool:
    """Check whether the same transaction may succeed later."""
    if isinstance(error, _TRANSIENT) or _is_out_of_room(error):
        return True
    state = error.sqlstate or ""
    return isinstance(error, psycopg.OperationalError) and not (
        state[:2] in _REFUSED_CLASSES or state in _REFUSED_STATES
    )


#: SQLSTATE classes of errors in what a row holds: data exceptions, constraints, limits such as the length of an index entry.
_OF_VALUES = frozenset({"22", "23", "54"})


def is_of_a_value(error: psycopg.Error) -> bool:
    """Check whether the database refused what a row holds, so that it may take the other rows."""
    return (error.sqlstate or "")[:2] in _OF_VALUES


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate psycopg's errors into the hub's two families."""
    try:
        yield
    except psycopg.Error as error:
        if _is_out_of_room(error):
            raise StoreUnavailable(
                f"The hub's database is out of disk space: {message_of(error)}. Free some, then try again"
            ) from bare(error)
        if is_transient(error):
            raise StoreUnavailable(f"The hub's database could not run the transaction: {message_of(error)}") from bare(
                error
            )
        refused = ValueRefused if is_of_a_value(error) else StoreRefused
        raise refused(
            f"The hub's database refused the statement of {_caller_of(error)}: {message_of(error)}",
            hint=Hint(HintId.MIGRATE),
        ) from bare(error)


def _caller_of(error: psycopg.Error) -> str:
    """Name the function of ours that sent the statement: `events.store.receive`."""
    here = [
        f"{module.removeprefix('crossdock.')}.{frame.f_code.co_name}"
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if (module := str(frame.f_globals.get("__name__"))).startswith("crossdock.") and module != __name__
    ]
    return here[-1] if here else "a test or a tool"


def bare(error: psycopg.Error) -> psycopg.Error:
    """Copy *error* with its traceback but without DETAIL, which quotes the values of a row, so that it may be logged."""
    return type(error)(message_of(error)).with_traceback(error.__traceback__)


def _is_out_of_room(error: psycopg.Error) -> bool:
    """Recognise a used-up disk quota, which comes as an internal error; a full disk comes as an OperationalError."""
    message = error.diag.message_primary or ""
    return isinstance(error, psycopg.errors.InternalError_) and message.startswith(
        ("could not extend", "could not write")
    )


def message_of(error: psycopg.Error) -> str:
    """Extract the server's message without the statement's values, which may be personal data."""
    if isinstance(error, psycopg.DataError):
        # The server quotes the value itself: `invalid input syntax for type bigint: "…"`.
        return type(error).__name__
    message = error.diag.message_primary or str(error)
    return message.splitlines()[0] if message else type(error).__name__
