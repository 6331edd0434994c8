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
    #: The business key; None where it is not known. Of a held record it is the one that the hub has.
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


_OURS = "integration = %(integration)s"
_BY_US = "ANY(%(batches)s::bigint[])"


@cache
def _statement(dataset: Schema, outcome: Outcome | None, *, is_first: bool) -> bytes:
    """
    Build the statement for a page of the rows of *dataset*, whose names are declared; values are parameters.

    Which records are on the page is found first, in the order of an index: otherwise each page of a full sync of a million rows
    would read them all. What has no row with *outcome* is left out.
    """
    branches = {
        Outcome.REJECTED: _REJECTED,
        Outcome.HELD: _HELD.format(key=dataset.key, table=dataset.table),
    }
    wanted = [branch for of, branch in branches.items() if outcome in (None, of)]
    if outcome not in branches:
        wanted.append(_written(dataset, outcome, is_first=is_first))
    place = """(id COLLATE "C", version, outcome COLLATE "C")"""
    passed = f"{place} > (%(after_id)s, %(after_version)s::bigint, %(after_outcome)s)"
    return f"""
SELECT outcome, id AS record_id, record_key, CASE WHEN outcome <> 'held' THEN version END AS version, item_id, cause
  FROM ({" UNION ALL ".join(wanted)}) AS row
 WHERE {"true" if is_first else passed} AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
 ORDER BY id COLLATE "C", row.version, outcome COLLATE "C" LIMIT %(limit)s""".encode()


_REJECTED = """
SELECT 'rejected' AS outcome, record_id AS id, record_key, version, item_id, cause
  FROM rejection JOIN quarantine_item USING (item_id) WHERE run_id = %(run_id)s"""

#: What is not loaded yet, by the first and the last run that held it.
_HELD = f"""
SELECT 'held' AS outcome, record_id AS id, (SELECT {{key}} FROM {{table}} WHERE id = record_id AND {_OURS}) AS record_key,
       0::bigint AS version, NULL::bigint AS item_id, NULL::text AS cause
  FROM deferred_record WHERE {_OURS} AND %(run_id)s IN (first_run_id, last_run_id)"""


def _written(dataset: Schema, outcome: Outcome | None, *, is_first: bool) -> str:
    """
    Build the query for the versions that the run wrote, of the records on one page.

    Such a version is the current one, or in history by now. It replaced another if history has one that the same batch
    superseded. Each record of the page has at least one row, and one more than the page is looked for: of the first, all rows
    may be on the page before.
    """
    ids = " UNION ".join(
        f"""(SELECT DISTINCT id FROM {of} AND {"true" if is_first else "id >= %(after_id)s"} ORDER BY id LIMIT %(limit)s + 1)"""
        for of in _records(dataset, outcome)
    )
    row = f"id, {dataset.key} AS record_key, version, NULL::bigint AS item_id, NULL::text AS cause"
    on_page = "id = ANY(ARRAY(SELECT id FROM page))"
    return " UNION ALL ".join(
        f"""
SELECT CASE WHEN {_replaced(dataset)} THEN 'updated' ELSE 'inserted' END AS outcome, {row}
  FROM (WITH page AS MATERIALIZED (SELECT id FROM ({ids}) AS found ORDER BY id LIMIT %(limit)s + 1)
        SELECT * FROM {table} WHERE {_OURS} AND batch_id = {_BY_US} AND {on_page}) AS t"""
        for table in (dataset.table, dataset.history)
    )


def _records(dataset: Schema, outcome: Outcome | None) -> list[str]:
    """
    List where the records are that the run inserted, updated, or wrote a version of that is in history.

    The current rows have no index by the batch that wrote them last: each update would be a new entry in all their indexes.
    """
    inserted = f"{dataset.table} WHERE {_OURS} AND inserted_by = {_BY_US}"
    updated = f"{dataset.history} WHERE {_OURS} AND superseded_by = {_BY_US}"
    former = f"{dataset.history} AS t WHERE {_OURS} AND batch_id = {_BY_US}"
    if outcome is Outcome.INSERTED:
        return [inserted, f"{former} AND {_replaced(dataset)} IS NOT TRUE"]
    return [updated] if outcome is Outcome.UPDATED else [inserted, updated, former]


def _replaced(dataset: Schema) -> str:
    """
    Check whether the version `t` replaced another.

    Not EXISTS: PostgreSQL makes a join of it, and reads the whole history for a page.
    """
    former = "o.id = t.id AND o.integration = t.integration AND o.superseded_by = t.batch_id"
    return f"(SELECT true FROM {dataset.history} o WHERE {former} LIMIT 1)"


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
        "outcome": outcome,
        "batches": [batch_id for (batch_id,) in work.execute(_BATCHES, {"run_id": run.run_id})],
        "after_id": after_id,
        "after_version": after_version,
        "after_outcome": after_outcome,
        "limit": limit,
    }
    statement = _statement(dataset, outcome, is_first=after is None)
    # Not prepared: one plan for all runs would be wrong for a run of ten records or for one of a million.
    return work.cursor(row_factory=kwargs_row(_row)).execute(statement, values, prepare=False).fetchall()


def _row(*, outcome: str, **columns: object) -> Row:
    return Row(outcome=Outcome(outcome), **columns)  # type: ignore[arg-type]  # as the statement names them
