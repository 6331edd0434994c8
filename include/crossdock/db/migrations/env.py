"""Alembic's entry: runs the migrations in the hub's own schema, with a version table of its own."""

from __future__ import annotations

import psycopg
from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool


def run() -> None:
    dsn: str = context.config.attributes["dsn"]
    schema: str = context.config.attributes["schema"]
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(dsn, options=f"-c search_path={schema}"),
        poolclass=NullPool,
    )
    with engine.begin() as connection:
        # Two hubs that start at once must not both migrate: the second waits here, then finds nothing to do.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('crossdock-migrations'))"))
        connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
        context.configure(connection=connection, version_table="hub_alembic_version", version_table_schema=schema)
        with context.begin_transaction():
            context.run_migrations()


run()
