"""
The rows of a run: what became of each record that it changed, rejected or put off.

Nothing is recorded for it but the items that each run rejects: a row names the batch that wrote it, for ever. Of records that
are unchanged or stale the ledger has only the number, since a full sync has millions of them.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache

import msgspec
from psycopg.rows import kwargs_row

from crossdock.db.database import Work
from crossdock.sync.dataset import Schema
from crossdock.sync.ledger import Run


class Outcome(StrEnum):
    """What became of a record, of those outcomes that are kept for each record."""

    INSERTED = "inserted"
    UPDATED = "updated"
    REJECTED = "rejected"
    HELD = "held"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a record, and what became of it in a run."""

    outcome: Outcome
    record_id: str
    #: The business key; None where it is not known.
    record_key: str | None
    #: None for a record that is held: it is read again.
    version: int | None
    #: The item in the quarantine, if it was rejected, and the rule that it failed first.
    item_id: int | None
    cause: str | None

    @property
    def place(self) -> Place:
        return self.record_id, self.version or 0, self.outcome


#: The place of a row in the order of the list: ID, version, outcome.
Place = tuple[str, int, str]

_BATCHES = b"SELECT batch_id FROM sync_batch WHERE run_id = %(run_id)s"


@cache
def _statement(dataset: Schema) -> bytes:
    """
    Build the statement for a *dataset*, whose names are declared; values are parameters.

    A version that a batch wrote is the current one, or in history by now. It replaced another if history has one that the
    same batch superseded. What is held is known until it is loaded.
    """
    columns = f'id COLLATE "C" AS record_id, {dataset.key} AS record_key, version, batch_id'
    own = "integration = %(integration)s AND batch_id = ANY(%(batches)s::bigint[])"
    return f"""
WITH replaced AS MATERIALIZED (
    SELECT id, superseded_by FROM {dataset.history}
     WHERE integration = %(integration)s AND superseded_by = ANY(%(batches)s::bigint[])),
written AS (
    SELECT {columns} FROM {dataset.table} WHERE {own} UNION ALL SELECT {columns} FROM {dataset.history} WHERE {own})
SELECT outcome, record_id, record_key, version, item_id, cause FROM (
    SELECT CASE WHEN (record_id, batch_id) IN (SELECT id, superseded_by FROM replaced) THEN 'updated' ELSE 'inserted' END AS outcome,
           record_id, record_key, version, NULL::bigint AS item_id, NULL AS cause
      FROM written
    UNION ALL
    SELECT 'rejected', record_id COLLATE "C", record_key, version, item_id, cause
      FROM rejection JOIN quarantine_item USING (item_id) WHERE run_id = %(run_id)s
    UNION ALL
    SELECT 'held', record_id COLLATE "C", NULL, NULL, NULL, NULL FROM deferred_record
     WHERE first_run_id = %(run_id)s) AS row
 WHERE (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
   AND (%(after_id)s::text IS NULL
        OR (record_id, coalesce(version, 0), outcome) > (%(after_id)s COLLATE "C", %(after_version)s::bigint, %(after_outcome)s))
 ORDER BY record_id, coalesce(version, 0), outcome LIMIT %(limit)s
""".encode()


def rows_of(
    work: Work,
    dataset: Schema,
    run: Run,
    *,
    outcome: Outcome | None = None,
    after: Place | None = None,
    limit: int = 50,
) -> list[Row]:
    """
    List the rows of *run*, of a stream of *dataset*, by ID: at most *limit* after *after* (keyset pagination).

    A record that the run read twice has a row for each version, and one that it rejected twice has one.
    """
    after_id, after_version, after_outcome = after or (None, None, None)
    values = {
        "integration": run.integration,
        "run_id": run.run_id,
        "batches": [batch_id for (batch_id,) in work.execute(_BATCHES, {"run_id": run.run_id})],
        "outcome": outcome,
        "after_id": after_id,
        "after_version": after_version,
        "after_outcome": after_outcome,
        "limit": limit,
    }
    return work.cursor(row_factory=kwargs_row(_row)).execute(_statement(dataset), values).fetchall()


def _row(*, outcome: str, **columns: object) -> Row:
    return Row(outcome=Outcome(outcome), **columns)  # type: ignore[arg-type]  # as the statement names them
