"""Who reads the views of the local stack's database: a role for everyday use, and one for an hour that sees personal data."""

from __future__ import annotations

import getpass
import secrets as random_source
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from crossdock.app import exports
from crossdock.db import views
from crossdock.db.database import Store
from crossdock.stack.ports import LOOPBACK
from crossdock.stack.postgres import only_reads
from crossdock.stack.secrets import load_secrets
from crossdock.stack.starts import servers

if TYPE_CHECKING:
    from crossdock.stack.lifecycle import Stack
    from crossdock.stack.postgres import PostgresServer

#: The names of roles that see personal data begin so.
PERSONAL = "hub_personal_"
#: How long such a role may log in, and `./hub psql --personal` runs.
HOUR = timedelta(hours=1)
_DATABASE = "hub"

_IN_TURN = b"SELECT pg_advisory_lock(hashtext(%(lock)s))"
_EXPIRED = b"SELECT rolname FROM pg_roles WHERE starts_with(rolname, %(prefix)s) AND rolvaliduntil < clock_timestamp()"
_END_SESSIONS = b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %(role)s"


@dataclass(frozen=True)
class Login:
    """A role of the hub's database, and the program to use it with."""

    program: Path
    port: int
    user: str
    password: str = field(repr=False)

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """
        Return the environment in which PostgreSQL's programs open the database: *inherited*, and how to find it.

        What *inherited* says of another database counts no more: a PGSERVICE would win over all that is said here.
        """
        return {
            **{name: value for name, value in inherited.items() if not name.startswith("PG")},
            "PGHOST": LOOPBACK,
            "PGPORT": str(self.port),
            "PGDATABASE": _DATABASE,
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGREQUIREAUTH": "scram-sha-256",
            "PGAPPNAME": "hub psql",
        }


def reader(stack: Stack) -> Login:
    """Return the login that reads the views with personal data masked."""
    server, password = _server(stack), load_secrets().reader_password
    # A stack that has run since before there were views has neither.
    server.create_reader(views.READER, password, database=_DATABASE, schema=views.schema_of("hub"))
    views.make(stack.hub_dsn)
    return Login(server.program("psql"), server.port, views.READER, password)


@contextmanager
def personal_reader(stack: Stack, *, reason: str) -> Iterator[Login]:
    """
    Make a role that also reads personal data, for at most an hour and as long as the block runs; the audit trail says for whom.

    Raises:
        BadRequest: no reason is given.

    """
    everyday, server = reader(stack), _server(stack)
    name, password = f"{PERSONAL}{random_source.token_hex(6)}", random_source.token_urlsafe(18)
    with Store(stack.hub_dsn) as store:
        exports.record_personal(store, f"role/{name}", actor=f"cli:{getpass.getuser()}", reason=reason)
    with _in_turn(server) as superuser:
        # Those of commands that were killed.
        for (expired,) in superuser.execute(_EXPIRED, {"prefix": PERSONAL}).fetchall():
            _drop(superuser, expired)
        _make(superuser, name, password)
    try:
        yield Login(everyday.program, server.port, name, password)
    finally:
        with _in_turn(server) as superuser:
            _drop(superuser, name)


@contextmanager
def _in_turn(server: PostgresServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.dsn(_DATABASE), autocommit=True) as superuser:
        superuser.execute(_IN_TURN, {"lock": views.LOCK})
        yield superuser


def _make(superuser: psycopg.Connection, name: str, password: str) -> None:
    role = sql.Identifier(name)
    until = superuser.execute("SELECT (clock_timestamp() + %s)::text", [HOUR]).fetchone()
    path = sql.SQL(", ").join(sql.Identifier(views.schema_of("hub", personal=full)) for full in (True, False))
    with superuser.transaction():
        superuser.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} VALID UNTIL {} IN ROLE {}").format(
                role, sql.Literal(password), sql.Literal(until and until[0]), sql.Identifier(views.READER)
            )
        )
        views.grant(superuser, name, views.schema_of("hub", personal=True))
        superuser.execute(sql.SQL("ALTER ROLE {} SET search_path = {}").format(role, path))
        only_reads(superuser, name)


def _drop(superuser: psycopg.Connection, name: str) -> None:
    superuser.execute(_END_SESSIONS, {"role": name})
    with superuser.transaction():
        superuser.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        superuser.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def _server(stack: Stack) -> PostgresServer:
    return servers(stack.ports, load_secrets())["postgres-hub"]
