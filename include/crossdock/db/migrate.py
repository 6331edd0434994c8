"""Upgrade the hub's schema to the version that this code needs."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.exc import OperationalError

from crossdock.db.database import StoreUnavailable

MIGRATIONS = Path(__file__).parent / "migrations"


#: How long a migration is tried while others use the tables that it changes, and the pause between two tries.
PATIENCE_S = 300.0
_PAUSE_S = 1.0

_OLDEST = b"""
SELECT pid, usename, application_name, date_trunc('second', clock_timestamp() - xact_start)::text
  FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND backend_type = 'client backend'
 ORDER BY xact_start LIMIT 1
"""


def upgrade(dsn: str, *, schema: str = "hub", patience_s: float = PATIENCE_S) -> None:
    """
    Upgrade the schema to its latest version, one transaction for each migration. Idempotent.

    A migration that does not get a table within two seconds gives up, so that nobody who writes to it waits longer, and is
    tried again.

    Raises:
        StoreUnavailable: others used a table for *patience_s*. What is upgraded stays; the rest can be done later.

    """
    with psycopg.connect(dsn, connect_timeout=5, autocommit=True) as turn:
        # Two hubs that start at once must not both migrate: the second waits here, then finds nothing to do.
        turn.execute("SELECT pg_advisory_lock(hashtext('crossdock-migrations'))")
        until = time.monotonic() + patience_s
        while not _tried(dsn, schema):
            if time.monotonic() >= until:
                raise StoreUnavailable(
                    f"A migration did not get a table that others use, for {patience_s:.0f} s. {_oldest(turn)}"
                    "Nothing is half done. Run it again when that has ended"
                )
            time.sleep(_PAUSE_S)


def _tried(dsn: str, schema: str) -> bool:
    try:
        command.upgrade(_config(dsn, schema), "head")
    except OperationalError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
            return False
        raise
    return True


def _oldest(turn: psycopg.Connection) -> str:
    found = turn.execute(_OLDEST).fetchone()
    if found is None:
        return ""
    pid, user, program, age = found
    return f"The oldest transaction is that of process {pid} ({user}, {program or 'no name'}), open for {age}. "


def is_current(dsn: str, *, schema: str = "hub") -> bool:
    """Check whether the database has exactly the migrations of this code."""
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        try:
            rows = connection.execute(
                psycopg.sql.SQL("SELECT version_num FROM {}.hub_alembic_version").format(psycopg.sql.Identifier(schema))
            ).fetchall()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return False
    return [version for (version,) in rows] == ScriptDirectory.from_config(_config(dsn, schema)).get_heads()


def knows(revision: str) -> bool:
    """Check whether this code has the migration *revision*."""
    return any(
        script.revision == revision for script in ScriptDirectory.from_config(_config("", "hub")).walk_revisions()
    )


def _config(dsn: str, schema: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["dsn"] = dsn
    config.attributes["schema"] = schema
    return config
