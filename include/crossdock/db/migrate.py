"""Upgrade the hub's schema to the version that this code needs."""

from __future__ import annotations

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(dsn: str, *, schema: str = "hub") -> None:
    """Upgrade the schema to its latest version. Idempotent."""
    command.upgrade(_config(dsn, schema), "head")


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
