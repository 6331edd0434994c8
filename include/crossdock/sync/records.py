"""Query the entity tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.rows import dict_row

from crossdock.core.errors import NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.core.instants import utc_text
from crossdock.db.database import Store, Work
from crossdock.sync.tables import EntityTable


def look_up(
    store: Store, table: EntityTable, entity: str, key: str, *, as_of: datetime | None = None
) -> list[dict[str, Any]]:
    """
    Read the records with a business key as they are, or as they were at *as_of*.

    Raises:
        NotFound: the hub has none, or had none at that time.

    """
    with store.transaction() as work:
        rows = records_at(work, table, key, as_of) if as_of else by_key(work, table, key)
        first = first_modified_at(work, table, key) if as_of and not rows else None
    if as_of and first:
        raise NotFound(
            f"{entity} {key!r} did not exist at {utc_text(as_of)}. The first version that the hub has is from {utc_text(first)}"
        )
    if not rows:
        raise NotFound(f"The hub has no {entity} {key!r}", hint=Hint(HintId.LIST_QUARANTINE))
    return rows


def count(work: Work, table: EntityTable, integration: str, ids: tuple[str | None, str | None] = (None, None)) -> int:
    """Count the records of *integration* with low < id ≤ high."""
    low, high = ids
    row = work.execute(
        f"""SELECT count(*) FROM {table.name} WHERE integration = %(integration)s
               AND id > coalesce(%(low)s, '') AND (%(high)s::text IS NULL OR id <= %(high)s)""".encode(),
        {"integration": integration, "low": low, "high": high},
    ).fetchone()
    return int(row[0]) if row else 0


def records_at(work: Work, table: EntityTable, key: str, instant: datetime) -> list[dict[str, Any]]:
    """
    Read the records with a business key as they were at *instant*, by the source's own instants.

    A record that was created later is not included. A version that came and went between two syncs is unknown
    to the hub.
    """
    names = ", ".join(("integration", *table.column_names))
    statement = f"""
        SELECT DISTINCT ON (id, integration) * FROM (
            SELECT {names} FROM {table.name} WHERE {table.partition_column} = %(key)s
            UNION ALL
            SELECT {names} FROM {table.history} WHERE {table.partition_column} = %(key)s) versions
         WHERE last_modified_at <= %(instant)s
         ORDER BY id, integration, version DESC"""
    with work.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement.encode(), {"key": key, "instant": instant}).fetchall()


def first_modified_at(work: Work, table: EntityTable, key: str) -> datetime | None:
    """Find when the oldest known version of a business key was modified; None if the hub has none."""
    statement = f"""
        SELECT min(last_modified_at) FROM (
            SELECT last_modified_at FROM {table.name} WHERE {table.partition_column} = %(key)s
            UNION ALL
            SELECT last_modified_at FROM {table.history} WHERE {table.partition_column} = %(key)s) AS versions"""
    row = work.execute(statement.encode(), {"key": key}).fetchone()
    return row[0] if row else None


def any_row(work: Work, table: EntityTable, integration: str) -> dict[str, Any] | None:
    """Read the row of *integration* with the lowest ID; None when it has none."""
    statement = f"SELECT * FROM {table.name} WHERE integration = %s ORDER BY id LIMIT 1"
    with work.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement.encode(), [integration]).fetchone()


def versions(work: Work, table: EntityTable, integration: str) -> dict[str, int]:
    """Map the ID of every record of *integration* to its version; another may have records with the same IDs."""
    statement = f"SELECT id, version FROM {table.name} WHERE integration = %s"
    return dict(work.execute(statement.encode(), [integration]).fetchall())


def order_lines(work: Work) -> Iterator[tuple[str, str, int, Decimal]]:
    """Read order number, original code, quantity and exact price of every order line."""
    yield from work.execute(b"SELECT order_number, code, quantity, price FROM sales_order_line")


def by_key(work: Work, table: EntityTable, key: str) -> list[dict[str, Any]]:
    """Read the current rows with a business key, as column → value; empty if the hub has none."""
    with work.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"SELECT * FROM {table.name} WHERE {table.partition_column} = %(key)s ORDER BY id".encode(),
            {"key": key},
        ).fetchall()
