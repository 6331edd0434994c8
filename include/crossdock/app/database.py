"""Prepare the hub's database for this code."""

from __future__ import annotations

import psycopg

from crossdock.db.migrate import upgrade
from crossdock.events import epochs


def migrate(dsn: str, *, schema: str = "hub") -> None:
    """Bring the schema to its newest version. Running it again changes nothing, except that after a restore a new epoch of events begins."""
    upgrade(dsn, schema=schema)
    with psycopg.connect(dsn, connect_timeout=5, options=f"-c search_path={schema}") as transaction:
        epochs.begin_after_restore(transaction)
