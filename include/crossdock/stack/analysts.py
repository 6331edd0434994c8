"""Who reads the views of the local stack's database: a role for everyday use, and one for an hour that sees personal data."""

from __future__ import annotations

import getpass
import secrets as random_source
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from crossdock.app import exports
from crossdock.db import views
from crossdock.db.database import Store
from crossdock.stack.ports import LOOPBACK
from crossdock.stack.secrets import load_secrets
from crossdock.stack.starts import servers

if TYPE_CHECKING:
    from crossdock.stack.lifecycle import Stack
    from crossdock.stack.postgres import PostgresServer

#: The names of roles that see personal data begin so.
PERSONAL = "hub_personal_"
_DATABASE = "hub"

_EXPIRED = b"SELECT rolname FROM pg_roles WHERE starts_with(rolname, %(prefix)s) AND rolvaliduntil < clock_timestamp()"


@dataclass(frozen=True)
class Login:
    """A role of the hub's database, and the program to use it with."""

    program: Path
    port: int
    user: str
    password: str = field(repr=False)

    def environment(self) -> dict[str, str]:
        """Return the variables by which PostgreSQL's programs find and open the database."""
        return {
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
    server = _server(stack)
    return Login(server.program("psql"), server.port, views.READER, load_secrets().reader_password)


@contextmanager
def personal_reader(stack: Stack, *, reason: str) -> Iterator[Login]:
    """
    Make a role that also reads personal data, for at most an hour and as long as the block runs; the audit trail says for whom.

    Raises:
        BadRequest: no reason is given.

    """
    server, name, password = _server(stack), f"{PERSONAL}{random_source.token_hex(6)}", random_source.token_urlsafe(18)
    with Store(stack.hub_dsn) as store:
        exports.record_personal(store, f"role/{name}", actor=f"cli:{getpass.getuser()}", reason=reason)
    with psycopg.connect(server.dsn(_DATABASE), autocommit=True) as superuser:
        # One whose command was killed cannot log in any more after its hour.
        for (expired,) in superuser.execute(_EXPIRED, {"prefix": PERSONAL}).fetchall():
            _drop(superuser, expired)
        _make(superuser, name, password)
    try:
        yield Login(server.program("psql"), server.port, name, password)
    finally:
        with psycopg.connect(server.dsn(_DATABASE), autocommit=True) as superuser:
            _drop(superuser, name)


def _make(superuser: psycopg.Connection, name: str, password: str) -> None:
    names = {"role": sql.Identifier(name), "reader": sql.Identifier(views.READER), "password": sql.Literal(password)}
    until = superuser.execute("SELECT (clock_timestamp() + interval '1 hour')::text").fetchone()
    with superuser.transaction():
        superuser.execute(
            sql.SQL("CREATE ROLE {role} LOGIN PASSWORD {password} VALID UNTIL {until} IN ROLE {reader}").format(
                until=sql.Literal(until and until[0]), **names
            )
        )
        views.grant(superuser, name, views.schema_of("hub", personal=True))
        path = sql.SQL(", ").join(sql.Identifier(views.schema_of("hub", personal=full)) for full in (True, False))
        superuser.execute(sql.SQL("ALTER ROLE {role} SET search_path = {path}").format(path=path, **names))
        superuser.execute(sql.SQL("ALTER ROLE {role} SET default_transaction_read_only = on").format(**names))


def _drop(superuser: psycopg.Connection, name: str) -> None:
    with superuser.transaction():
        superuser.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        superuser.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def _server(stack: Stack) -> PostgresServer:
    return servers(stack.ports, load_secrets())["postgres-hub"]
