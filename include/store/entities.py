"""Reads of the entity tables."""

from __future__ import annotations

from typing import Any

from psycopg.rows import dict_row

from include.store.database import Work
from include.store.tables import EntityTable


def count(work: Work, table: EntityTable, integration: str) -> int:
    """How many records of *integration* the hub has."""
    row = work.execute(
        f"SELECT count(*) FROM {table.name} WHERE integration = %(integration)s".encode(),
        {"integration": integration},
    ).fetchone()
    return int(row[0]) if row else 0


def by_key(work: Work, table: EntityTable, key: str) -> list[dict[str, Any]]:
    """The current rows under a business key, as column → value; empty when the hub has none."""
    with work.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"SELECT * FROM {table.name} WHERE {table.partition_column} = %(key)s ORDER BY id".encode(),
            {"key": key},
        ).fetchall()
