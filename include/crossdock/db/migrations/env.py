"""Alembic's entry: runs the migrations in the hub's own schema, with a version table of its own."""

from __future__ import annotations

import psycopg
from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

#: While a migration waits for a table, everybody who writes to it waits behind the migration.
LOCK_PATIENCE_MS = 2000


def run() -> None:
    dsn: str = context.config.attributes["dsn"]
    schema: str = context.config.attributes["schema"]
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(dsn, options=f"-c search_path={schema} -c lock_timeout={LOCK_PATIENCE_MS}"),
        poolclass=NullPool,
    )
    with engine.connect() as connection:
        connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
        connection.commit()
        context.configure(
            connection=connection,
            version_table="hub_alembic_version",
            version_table_schema=schema,
            # What one migration has locked must not wait for what the next ones need.
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
