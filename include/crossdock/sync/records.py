"""Query the tables of datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.rows import dict_row

from crossdock.core.errors import NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.core.instants import utc_text
from crossdock.db.database import Store, Work
from crossdock.sync.dataset import Schema
from crossdock.sync.quarantine import repository as quarantine_repository
from crossdock.sync.quarantine.repository import Waiting
from crossdock.sync.stream import Stream


def look_up(store: Store, stream: Stream, key: str, *, at: datetime | None = None) -> list[dict[str, Any]]:
    """
    Read the records of *stream* with a business key as they are, or as they were at the instant *at*.

    Raises:
        NotFound: the hub has none, or had none at that time.

    """
    dataset, integration = stream.dataset, stream.integration
    with store.transaction() as work:
        rows = as_of(work, dataset, integration, key, at) if at else by_key(work, dataset, integration, key)
        first = first_modified_at(work, dataset, integration, key) if at and not rows else None
    if at and first:
        raise NotFound(
            f"{key!r} of {stream.id} did not exist at {utc_text(at)}. "
            f"The first version that the hub has is from {utc_text(first)}"
        )
    if not rows:
        raise NotFound(f"The hub has no {key!r} of {stream.id}", hint=Hint(HintId.LIST_QUARANTINE))
    return rows


def waiting(store: Store, stream: Stream, rows: Sequence[Mapping[str, Any]]) -> list[Waiting]:
    """List what waits in quarantine and came after *rows* of *stream*."""
    with store.transaction() as work:
        return quarantine_repository.later_than(work, stream.id, {row["id"]: row["version"] for row in rows})


def count(work: Work, dataset: Schema, integration: str, ids: tuple[str | None, str | None] = (None, None)) -> int:
    """Count the records of *integration* with low < id ≤ high; what is part of another dataset's records is none of them."""
    low, high = ids
    own = f"AND {dataset.owner} IS NULL" if dataset.owner else ""
    row = work.execute(
        f"""SELECT count(*) FROM {dataset.table} WHERE integration = %(integration)s {own}
               AND id > coalesce(%(low)s, '') AND (%(high)s::text IS NULL OR id <= %(high)s)""".encode(),
        {"integration": integration, "low": low, "high": high},
    ).fetchone()
    return int(row[0]) if row else 0


def as_of(work: Work, dataset: Schema, integration: str, key: str, instant: datetime) -> list[dict[str, Any]]:
    """
    Read the records of *integration* with a business key as they were at *instant*, by the source's own instants.

    A record that was created later is not included. A version that came and went between two syncs is unknown
    to the hub.
    """
    names = ", ".join(("integration", *dataset.column_names))
    # Of one version there may be several contents: the current one first, then the one that was replaced last.
    statement = f"""
        SELECT DISTINCT ON (id) {names} FROM (
            SELECT {names}, NULL::bigint AS superseded_by
              FROM {dataset.table} WHERE {dataset.key} = %(key)s AND integration = %(integration)s
            UNION ALL
            SELECT {names}, superseded_by
              FROM {dataset.history} WHERE {dataset.key} = %(key)s AND integration = %(integration)s
        ) versions
         WHERE last_modified_at <= %(instant)s
         ORDER BY id, version DESC, superseded_by DESC NULLS FIRST"""
    values = {"integration": integration, "key": key, "instant": instant}
    with work.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement.encode(), values).fetchall()


def first_modified_at(work: Work, dataset: Schema, integration: str, key: str) -> datetime | None:
    """Find when the oldest known version of a business key was modified; None if the hub has none."""
    statement = f"""
        SELECT min(last_modified_at) FROM (
            SELECT last_modified_at FROM {dataset.table}
             WHERE {dataset.key} = %(key)s AND integration = %(integration)s
            UNION ALL
            SELECT last_modified_at FROM {dataset.history}
             WHERE {dataset.key} = %(key)s AND integration = %(integration)s) AS versions"""
    row = work.execute(statement.encode(), {"integration": integration, "key": key}).fetchone()
    return row[0] if row else None


def any_row(work: Work, dataset: Schema, integration: str) -> dict[str, Any] | None:
    """Read the row of *integration* with the lowest ID; None when it has none."""
    statement = f"SELECT * FROM {dataset.table} WHERE integration = %s ORDER BY id LIMIT 1"
    with work.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement.encode(), [integration]).fetchone()


def versions(work: Work, dataset: Schema, integration: str) -> dict[str, int]:
    """Map the ID of every record of *integration* to its version; another may have records with the same IDs."""
    statement = f"SELECT id, version FROM {dataset.table} WHERE integration = %s"
    return dict(work.execute(statement.encode(), [integration]).fetchall())


def order_lines(work: Work, integration: str) -> Iterator[tuple[str, str, int, Decimal]]:
    """Read order number, original code, quantity and exact price of every order line of *integration*."""
    statement = b"SELECT order_number, code, quantity, price FROM sales_order_line WHERE integration = %s"
    yield from work.execute(statement, [integration])


def by_key(work: Work, dataset: Schema, integration: str, key: str) -> list[dict[str, Any]]:
    """Read the current rows of *integration* with a business key, as column → value; empty if the hub has none."""
    with work.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"""SELECT * FROM {dataset.table}
                 WHERE {dataset.key} = %(key)s AND integration = %(integration)s ORDER BY id""".encode(),
            {"integration": integration, "key": key},
        ).fetchall()
