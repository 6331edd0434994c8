"""Prepare the hub's database for this code."""

from __future__ import annotations

import psycopg

from crossdock.db import views
from crossdock.db.migrate import upgrade
from crossdock.events import epochs


def migrate(dsn: str, *, schema: str = "hub") -> None:
    """
    Upgrade the schema to its latest version, and make the views for analysts.

    Idempotent, except that a new epoch of events begins after a restore.
    """
    upgrade(dsn, schema=schema)
    views.make(dsn, schema=schema)
    with psycopg.connect(dsn, connect_timeout=5, options=f"-c search_path={schema}") as transaction:
        epochs.begin_after_restore(transaction)
