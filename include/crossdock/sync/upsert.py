"""Upsert a batch's rows into the table of their dataset, with history and one event for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from crossdock.db.columns import Column, copy_in
from crossdock.db.database import StoreUnavailable, Work, bare
from crossdock.events import store as event_store
from crossdock.sync import deferred_records
from crossdock.sync.compare_versions import NOTHING, ComparedRows, Size
from crossdock.sync.dataset import Schema
from crossdock.sync.ledger import Run

if TYPE_CHECKING:
    import pyarrow as pa

#: How long a batch waits for rows that another transaction locks before it defers them to the next run.
LOCK_PATIENCE = timedelta(seconds=1)
#: The most bytes that PostgreSQL accepts for `toast_tuple_target`: what one row in a page of 8 kB may have.
_WHOLE_PAGE = 8160


class Overtaken(StoreUnavailable):
    """Another writer loaded a record of this batch at the same moment. If the batch is loaded again, it sees that record."""


@dataclass(frozen=True)
class SkippedRows:
    """The changed rows of a batch that were not written after all."""

    #: Rows that another transaction locked for too long: id → number of lines.
    busy: Mapping[str, int] = field(default_factory=dict)
    #: Rows that the hub has: another writer loaded the same version meanwhile, or the content was compared and is the same.
    known: Size = NOTHING
    #: Rows that another writer loaded meanwhile, in a newer version.
    stale: Size = NOTHING

    @property
    def records(self) -> int:
        return len(self.busy) + self.known.records + self.stale.records


def upsert(
    work: Work, dataset: Schema, run: Run, batch_id: int, rows: ComparedRows, *, compares_content: bool
) -> SkippedRows:
    """
    Insert new and overwrite changed *rows*, keep old versions in history, and append an event for each to the outbox.

    With *compares_content*, a row with the version that the hub has is changed if its content is another one.
    Returns the rows that were skipped.

    Raises:
        Overtaken: another writer inserted a row of the batch. Nothing may be committed; load the batch again.

    """
    if not rows.new.num_rows and not rows.changed.num_rows:
        return SkippedRows()
    statements = statements_of(dataset, compares_content, is_range=rows.is_range)
    values = values_of(dataset, run, batch_id, rows)
    _stage(work, dataset, statements, rows)
    known = _drop_known(work, statements, values) if rows.same_version else NOTHING
    skipped = SkippedRows(known=known)
    if rows.changed.num_rows > known.records:
        overwritten = _overwrite(work, statements, run, values, rows.changed.num_rows - known.records)
        skipped = replace(overwritten, known=known.plus(overwritten.known))
    if rows.new.num_rows:
        _insert(work, statements.insert, values)
    if rows.new.num_rows or rows.changed.num_rows > skipped.records:
        event_store.append_selected(work, statements.changes, values)
    return skipped


def _id_range(rows: ComparedRows) -> dict[str, str | None]:
    """Find the first and the last id of *rows*."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = [chunk for some in (rows.new, rows.changed) for chunk in some.column("id").chunks]
    ends = pc.min_max(pa.chunked_array(ids, pa.string())).as_py()
    return {"first_id": ends["min"], "last_id": ends["max"]}


def _drop_known(work: Work, statements: Statements, values: dict[str, Any]) -> Size:
    """Leave the rows that the hub has, in this version and with this content, out of the stage."""
    return Size(*(work.execute(statements.drop_known, values).fetchone() or NOTHING))


def _insert(work: Work, statement: bytes, values: dict[str, Any]) -> None:
    # Not ON CONFLICT DO NOTHING, which costs half as much again: the versions were compared a moment ago.
    try:
        with work.transaction():
            work.execute(statement, values)
    except psycopg.errors.UniqueViolation as error:
        raise Overtaken(
            "Another writer inserted a record of this batch at the same moment. Load the batch again"
        ) from bare(error)


def _stage(work: Work, dataset: Schema, statements: Statements, rows: ComparedRows) -> None:
    """Copy the rows into a temporary table of this connection, and mark new ones."""
    import pyarrow as pa

    work.execute(statements.stage)
    columns = (*dataset.columns, Column("is_new", "bool"))
    for some, is_new in ((rows.new, True), (rows.changed, False)):
        if some.num_rows:
            marked = _in_id_order(some).append_column("is_new", pa.repeat(pa.scalar(is_new), some.num_rows))
            copy_in(work, dataset.stage, columns, marked)


def clear_stage(work: Work, dataset: Schema) -> None:
    """Empty the stage of *dataset* before the transaction ends, so that it can write more rows."""
    work.execute(statements_of(dataset).stage)
    work.execute(f"DELETE FROM {dataset.stage}".encode())


def _in_id_order(rows: pa.Table) -> pa.Table:
    """Sort *rows* by id: two transactions that insert the same rows in two orders deadlock. A full read is sorted already."""
    import pyarrow.compute as pc

    ids = rows.column("id").combine_chunks()
    return rows if pc.all(pc.less_equal(ids[:-1], ids[1:])).as_py() is not False else rows.sort_by("id")


def _overwrite(work: Work, statements: Statements, run: Run, values: dict[str, Any], staged: int) -> SkippedRows:
    """
    Lock the rows that will be overwritten, in id order, copy them into history, and overwrite them.

    Rows that another transaction locks for longer than LOCK_PATIENCE are removed from the batch and deferred:
    the next run reads exactly those again, and the watermark may pass them.
    """
    busy: dict[str, int] = {}
    try:
        with work.transaction():
            work.execute(f"SET LOCAL lock_timeout = '{LOCK_PATIENCE.total_seconds():.0f}s'".encode())
            superseded, written_later = _keep_history(work, statements, values)
            # Otherwise the timeout would also apply to other waits in the rest of the transaction.
            work.execute(b"SET LOCAL lock_timeout = 0")
    except psycopg.errors.LockNotAvailable:
        busy = dict(work.execute(statements.take_busy, values).fetchall())
        deferred_records.defer(work, run, list(busy), "the row was locked by another transaction")
        superseded, written_later = _keep_history(work, statements, values)
    if written_later:
        # Events are delivered in the order of transactions: from this one, the older version's would come after the newer's.
        raise Overtaken("A later transaction wrote a record of this batch. Load the batch again in a new transaction")
    known = stale = NOTHING
    if superseded < staged - len(busy):
        known, stale = (Size(*row) for row in work.execute(statements.drop_overtaken, values).fetchall())
    overwritten = work.execute(statements.overwrite, values).rowcount
    if not superseded == overwritten == staged - len(busy) - known.records - stale.records:
        # A version would be missing in history, or an event would report a change that did not happen.
        raise Overtaken("Another writer changed a record of this batch at the same moment. Load the batch again")
    return SkippedRows(busy, known, stale)


def _keep_history(work: Work, statements: Statements, values: dict[str, Any]) -> tuple[int, int]:
    """Copy old versions into history; return how many, and how many of them a later transaction wrote."""
    kept, written_later = work.execute(statements.keep_history, values).fetchone() or (0, 0)
    return kept, written_later


def values_of(dataset: Schema, run: Run, batch_id: int, rows: ComparedRows) -> dict[str, Any]:
    """Collect the values of the statements for the *rows* of one batch."""
    return _id_range(rows) | {
        "integration": run.integration,
        "batch_id": batch_id,
        "source": f"/integrations/{run.integration}",
        "type": dataset.event_type,
        "run_id": run.run_id,
        "silent": run.suppress_events,
    }


class Statements(msgspec.Struct, frozen=True):
    """The SQL statements of one dataset. Names come from its declaration, never from data; values are always parameters."""

    stage: bytes
    #: Of a stream that compares content: deletes what the hub has already from the stage.
    drop_known: bytes
    keep_history: bytes
    take_busy: bytes
    drop_overtaken: bytes
    overwrite: bytes
    insert: bytes
    #: One row for each new or changed record, as the outbox expects it.
    changes: bytes


def among(stage: str, column: str, *, is_range: bool) -> str:
    """
    Restrict *column* to the ids of the rows in *stage*, which the join with it does already.

    PostgreSQL knows little of a table that it has just filled, and would read all rows of the integration for each batch.
    """
    if is_range:
        return f"{column} BETWEEN %(first_id)s AND %(last_id)s"
    return f"{column} = ANY(ARRAY(SELECT id FROM {stage}))"


@cache
def statements_of(dataset: Schema, compares_content: bool = False, *, is_range: bool = True) -> Statements:
    """Build the statements of *dataset*, once for each process; *is_range*: for rows whose ids are one range of the index."""
    name, history, stage = dataset.table, dataset.history, dataset.stage
    names = ", ".join(dataset.column_names)
    typed = ", ".join(column.declared for column in dataset.columns)
    settings = ", ".join(f"{column} = s.{column}" for column in dataset.column_names if column != "id")
    busy_lines = f"s.{dataset.lines}" if dataset.lines else "0"
    same_record = f"NOT s.is_new AND t.id = s.id AND t.integration = %(integration)s AND {among(stage, 't.id', is_range=is_range)}"
    is_newer = "t.version < s.version"
    ours, theirs = (", ".join(f"{row}.{column}" for column in dataset.content_names) for row in "ts")
    if compares_content:
        is_newer = f"({is_newer} OR t.version = s.version AND ROW({ours}) IS DISTINCT FROM ROW({theirs}))"
    newer = f"{same_record} AND {is_newer}"
    return Statements(
        # A row that fits into a page is staged as it is: to compress it would cost as much as all else, for milliseconds.
        stage=f"""
            CREATE TEMP TABLE IF NOT EXISTS {stage} ({typed}, is_new boolean)
              WITH (toast_tuple_target = {_WHOLE_PAGE}) ON COMMIT DELETE ROWS""".encode(),
        drop_known=f"""
            WITH known AS (
                DELETE FROM {stage} s USING {name} t
                 WHERE {same_record} AND t.version = s.version AND ROW({ours}) IS NOT DISTINCT FROM ROW({theirs})
                RETURNING {busy_lines}::bigint AS lines)
            SELECT count(*), coalesce(sum(lines), 0)::bigint FROM known""".encode(),
        # Locked in id order: two transactions that lock the same rows in two orders deadlock.
        keep_history=f"""
            WITH superseded AS (
                SELECT t.*, age(t.xmin) AS transactions_ago
                  FROM {name} t JOIN {stage} s ON {newer} ORDER BY t.id FOR UPDATE OF t),
            kept AS (
                INSERT INTO {history} (integration, {names}, batch_id, known_at, superseded_by)
                SELECT integration, {names}, batch_id, known_at, %(batch_id)s FROM superseded)
            SELECT count(*), count(*) FILTER (WHERE transactions_ago < 0) FROM superseded""".encode(),
        take_busy=f"""
            WITH free AS (
                SELECT t.id FROM {name} t JOIN {stage} s ON {newer} ORDER BY t.id FOR UPDATE OF t SKIP LOCKED)
            DELETE FROM {stage} s USING {name} t
             WHERE {newer} AND s.id NOT IN (SELECT id FROM free)
            RETURNING s.id, {busy_lines}::bigint""".encode(),
        # A row that is not locked by now has a version that is not older, and, if that is compared, the same content.
        drop_overtaken=f"""
            WITH overtaken AS (
                DELETE FROM {stage} s USING {name} t
                 WHERE {same_record} AND NOT {is_newer}
                RETURNING t.version > s.version AS stale, {busy_lines}::bigint AS lines)
            SELECT count(overtaken.stale), coalesce(sum(lines), 0)::bigint
              FROM (VALUES (false), (true)) AS kind(stale) LEFT JOIN overtaken USING (stale)
             GROUP BY kind.stale ORDER BY kind.stale""".encode(),
        overwrite=f"""
            UPDATE {name} t SET {settings}, batch_id = %(batch_id)s, known_at = clock_timestamp()
              FROM {stage} s WHERE {newer}""".encode(),
        # In the order of the staging table, which is sorted by id.
        insert=f"""
            INSERT INTO {name} (integration, {names}, batch_id, inserted_by)
            SELECT %(integration)s, {names}, %(batch_id)s, %(batch_id)s FROM {stage} WHERE is_new""".encode(),
        changes=f"""
            SELECT %(source)s, %(type)s, '{name}/' || id, clock_timestamp(), {dataset.key}, %(run_id)s,
                   %(silent)s, row_to_json(r)
              FROM (SELECT {names} FROM {stage}) r""".encode(),
    )
