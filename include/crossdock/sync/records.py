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


def look_up(
    store: Store, stream: Stream, key: str, *, at: datetime | None = None, known_at: datetime | None = None
) -> list[dict[str, Any]]:
    """
    Read the records of *stream* with a business key as they are, or as they were.

    There are two clocks. *at* is an instant of the source: what was true there, by all that the hub has learnt since.
    *known_at* is an instant of the hub: what it had then. With both, what it would have said then about *at*.

    Raises:
        NotFound: the hub has none, or had none at that time.

    """
    dataset, integration = stream.dataset, stream.integration
    with store.transaction() as work:
        if at is None and known_at is None:
            rows = by_key(work, dataset, integration, key)
        else:
            rows = as_of(work, dataset, integration, key, at, known_at=known_at)
        first = None if rows else first_version(work, dataset, integration, key)
    if not rows and first is not None:
        raise NotFound(_not_then(stream, key, first, at, known_at))
    if not rows:
        raise NotFound(f"The hub has no {key!r} of {stream.id}", hint=Hint(HintId.LIST_QUARANTINE))
    return rows


def _not_then(
    stream: Stream, key: str, first: tuple[datetime, datetime], at: datetime | None, known_at: datetime | None
) -> str:
    modified, known = first
    if at is not None and modified > at:
        return (
            f"{key!r} of {stream.id} did not exist at {utc_text(at)}. "
            f"The first version that the hub has is from {utc_text(modified)}"
        )
    if known_at is not None:
        return f"The hub did not have {key!r} of {stream.id} at {utc_text(known_at)}. It first knew it at {utc_text(known)}"
    return f"The hub does not have {key!r} of {stream.id} any more"


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


#: When the hub knew a version. A row from before the column has the time of its batch or, when that is deleted, the source's.
_KNOWN = "coalesce(known_at, (SELECT loaded_at FROM sync_batch WHERE batch_id = versions.batch_id), last_modified_at)"
#: Until when it had it: for ever, unless a batch replaced the version or found it gone.
_ENDED = (
    "coalesce(superseded_at, (SELECT loaded_at FROM sync_batch WHERE batch_id = versions.superseded_by), '-infinity')"
)


def as_of(
    work: Work,
    dataset: Schema,
    integration: str,
    key: str,
    instant: datetime | None,
    *,
    known_at: datetime | None = None,
) -> list[dict[str, Any]]:
    """
    Read the records of *integration* with a business key as they were at *instant*, by the source's own instants.

    With *known_at*, only from what the hub knew at that instant of its own clock. A record that was created later is not
    included. A version that came and went between two syncs is unknown to the hub.
    """
    names = ", ".join(("integration", *dataset.column_names))
    own = f"{dataset.key} = %(key)s AND integration = %(integration)s"
    # Of one version there may be several contents: the current one first, then the one that was replaced last. A version
    # that ended, and that the same batch did not replace by another of this key, was gone from then on.
    statement = f"""
        WITH versions AS (
            SELECT {names}, batch_id, known_at, NULL::bigint AS superseded_by, NULL::timestamptz AS superseded_at
              FROM {dataset.table} WHERE {own}
            UNION ALL
            SELECT {names}, batch_id, known_at, superseded_by, superseded_at FROM {dataset.history} WHERE {own}),
        chosen AS (
            SELECT DISTINCT ON (id) {names}, batch_id, {_KNOWN} AS known_at, superseded_by, superseded_at
              FROM versions
             WHERE (%(instant)s::timestamptz IS NULL OR last_modified_at <= %(instant)s)
               AND (%(known_at)s::timestamptz IS NULL OR {_KNOWN} <= %(known_at)s)
             ORDER BY id, version DESC, superseded_by DESC NULLS FIRST)
        SELECT {names}, batch_id, known_at FROM chosen AS versions
         WHERE %(known_at)s::timestamptz IS NULL OR superseded_by IS NULL OR {_ENDED} > %(known_at)s
            OR EXISTS (SELECT FROM versions AS next WHERE next.id = versions.id AND next.batch_id = versions.superseded_by)
         ORDER BY id"""
    values = {"integration": integration, "key": key, "instant": instant, "known_at": known_at}
    with work.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement.encode(), values).fetchall()


def first_version(work: Work, dataset: Schema, integration: str, key: str) -> tuple[datetime, datetime] | None:
    """Find when the oldest version of a business key was modified, and when the hub knew its first one; None if it has none."""
    own = f"{dataset.key} = %(key)s AND integration = %(integration)s"
    statement = f"""
        SELECT min(last_modified_at), min({_KNOWN}) FROM (
            SELECT last_modified_at, batch_id, known_at FROM {dataset.table} WHERE {own}
            UNION ALL
            SELECT last_modified_at, batch_id, known_at FROM {dataset.history} WHERE {own}) AS versions"""
    row = work.execute(statement.encode(), {"integration": integration, "key": key}).fetchone()
    return (row[0], row[1]) if row and row[0] else None


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
