"""One transaction a batch: rows, history, events, quarantine, counts and watermark together, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple

import msgspec
import psycopg

from include.model.errors import Terminal
from include.model.quality import Rejected
from include.model.sync import Counts, Fates
from include.store import leases, open_records, quarantine, runs, watermarks
from include.store.database import StoreUnavailable, Work
from include.store.runs import Run
from include.store.tables import EntityTable

#: How long a batch waits for rows that another transaction holds before it leaves those for the next run.
LOCK_PATIENCE = timedelta(seconds=1)


class Unaccounted(Terminal):
    """A batch or a run does not hold as many records as were read: a file was replaced, or a task was skipped."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A run of pages that is validated and loaded as one."""

    batch_id: int
    run_id: str
    batch_no: int
    #: (range, page) of its first and last page; None for a replay, which has no pages.
    first_page: tuple[int, int] | None
    last_page: tuple[int, int] | None
    records: int
    lines: int
    loaded: bool


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What validation made of a batch."""

    #: Rows in the order of the table's columns; no id twice.
    accepted: Sequence[tuple[Any, ...]]
    rejected: Sequence[Rejected]
    #: Records left out because the batch has the same id in the same or a newer version.
    repeats: Fates


def name_of(run_id: str, batch_no: int) -> str:
    """Where a batch's files lie in the landing."""
    return f"{run_id}/batch-{batch_no:05d}"


_ADD = b"""
INSERT INTO sync_batch (run_id, batch_no, first_range, first_page, last_range, last_page, records, lines)
VALUES (%(run_id)s, %(batch_no)s, %(first_range)s, %(first_page)s, %(last_range)s, %(last_page)s, %(records)s,
        %(lines)s)
ON CONFLICT (run_id, batch_no) DO NOTHING
"""

_OF_RUN = b"""
SELECT batch_id, batch_no, first_range, first_page, last_range, last_page, records, lines, loaded_at IS NOT NULL
  FROM sync_batch WHERE run_id = %(run_id)s ORDER BY batch_no
"""

#: The batch row is claimed by its commit: a second worker that loads the same batch finds no row and stops.
_CLAIM = b"UPDATE sync_batch SET loaded_at = clock_timestamp() WHERE batch_id = %(batch_id)s AND loaded_at IS NULL"

_MARK_PAGES = b"""
UPDATE landed_page SET loaded = true
 WHERE run_id = %(run_id)s
   AND (range_no, page_no) BETWEEN (%(first_range)s, %(first_page)s) AND (%(last_range)s, %(last_page)s)
"""


def add(
    work: Work,
    run_id: str,
    batch_no: int,
    *,
    records: int,
    lines: int = 0,
    first_page: tuple[int, int] | None = None,
    last_page: tuple[int, int] | None = None,
) -> None:
    """Notes a batch that is validated and can be loaded. A repeated note changes nothing."""
    first_range, first = first_page or (None, None)
    last_range, last = last_page or (None, None)
    work.execute(
        _ADD,
        {
            "run_id": run_id,
            "batch_no": batch_no,
            "records": records,
            "lines": lines,
            "first_range": first_range,
            "first_page": first,
            "last_range": last_range,
            "last_page": last,
        },
    )


def of_run(work: Work, run_id: str) -> list[Batch]:
    """The run's batches in loading order."""
    return [
        Batch(
            batch_id=batch_id,
            run_id=run_id,
            batch_no=no,
            first_page=None if first_range is None else (first_range, first),
            last_page=None if last_range is None else (last_range, last),
            records=records,
            lines=lines,
            loaded=loaded,
        )
        for batch_id, no, first_range, first, last_range, last, records, lines, loaded in work.execute(
            _OF_RUN, {"run_id": run_id}
        )
    ]


def load(work: Work, table: EntityTable, run: Run, batch: Batch, content: Content) -> Fates:
    """
    The batch in the hub, and what became of each of its records. Call it in one transaction.

    A batch that is loaded already is left alone and counts nothing, so a repeated load is safe.

    Raises:
        LeaseLost: another run has overtaken this one; nothing is written.
        StoreUnavailable: another writer brought the same new record; nothing is written, load it again.
        Unaccounted: *content* is not all that the batch's pages brought; nothing is written.
        psycopg.Error: translated by the transaction around it; nothing is written.

    """
    leases.check(work, run.lease, run.run_id, run.fencing_token)
    if work.execute(_CLAIM, {"batch_id": batch.batch_id}).rowcount == 0:
        return Fates()
    staged = _stage(work, table, content.accepted)
    held, superseded = _leave_busy_rows(work, table, run, batch)
    written = _write(work, table, run, batch, staged=staged - held)
    if written.records.updated != superseded:
        # A row that was not there to be locked, and then was: what it held is in no history.
        raise StoreUnavailable("Another writer brought a record of this batch at the same moment; load it again")
    open_records.close(work, table, run, [record.record_id for record in content.rejected])
    quarantine.close_superseded(work, table, run)
    kept = quarantine.keep(work, run, content.rejected)
    fates = (
        written
        + kept
        + content.repeats
        + Fates(records=Counts(held=held.records, read=batch.records), lines=Counts(held=held.lines, read=batch.lines))
    )
    if not fates.records.balanced:
        # Before the watermark passes what is missing.
        raise Unaccounted(
            f"Batch {batch.batch_no} of run {run.run_id} holds {fates.records.accounted} records where "
            f"{batch.records} were read: its files are not those that were written. Clear `extract` and what follows it"
        )
    runs.add_counts(work, run.run_id, fates)
    if batch.first_page and batch.last_page:
        _mark_pages(work, batch)
    if run.moves_watermark:
        watermarks.advance(work, run.lease, run.run_id, run.window)
    return fates


class _Size(NamedTuple):
    """How many records, and how many lines they have."""

    records: int
    lines: int

    def __sub__(self, other: _Size) -> _Size:
        return _Size(self.records - other.records, self.lines - other.lines)


def _stage(work: Work, table: EntityTable, rows: Sequence[tuple[Any, ...]]) -> _Size:
    """The rows in a temporary table of this connection, by binary COPY: the cheapest way in."""
    work.execute(_statements(table).stage)
    with work.cursor().copy(_statements(table).copy) as copy:
        # A jsonb value travels as its bytes behind a version byte (see `jsonb_bytes`), so it is written as bytea.
        copy.set_types(["bytea" if column.pg_type == "jsonb" else column.pg_type for column in table.columns])
        for row in rows:
            copy.write_row(row)
    if table.lines_column is None:
        return _Size(len(rows), 0)
    at = table.column_names.index(table.lines_column)
    return _Size(len(rows), sum(row[at] for row in rows))


def jsonb_bytes(text: str | None) -> bytes | None:
    """*text*, JSON, as PostgreSQL's binary COPY wants a jsonb: byte 1, then the text."""
    return None if text is None else b"\x01" + text.encode()


def _leave_busy_rows(work: Work, table: EntityTable, run: Run, batch: Batch) -> tuple[_Size, int]:
    """
    What was busy, and how many superseded versions are now in history. Locks what will be overwritten, in id order.

    Rows that somebody else holds for longer than the patience are taken out of the batch and left
    open: the next run reads exactly those again, and the watermark may pass them.
    """
    statements = _statements(table)
    values = {"integration": run.integration, "batch_id": batch.batch_id}
    try:
        with work.transaction():
            work.execute(f"SET LOCAL lock_timeout = '{LOCK_PATIENCE.total_seconds():.0f}s'".encode())
            superseded = work.execute(statements.keep_history, values).rowcount
        return _Size(0, 0), superseded
    except psycopg.errors.LockNotAvailable:
        busy = work.execute(statements.take_busy, values).fetchall()
        open_records.leave(work, run, [row[0] for row in busy], "the row was locked by another transaction")
        superseded = work.execute(statements.keep_history, values).rowcount
        return _Size(len(busy), sum(row[1] for row in busy)), superseded


def _write(work: Work, table: EntityTable, run: Run, batch: Batch, *, staged: _Size) -> Fates:
    statements = _statements(table)
    values = {
        "integration": run.integration,
        "batch_id": batch.batch_id,
        "source": f"/integrations/{run.integration}",
        "type": table.event_type,
        "run_id": run.run_id,
        "silent": run.silent,
    }
    new, new_lines, changed, changed_lines = work.execute(statements.upsert, values).fetchone() or (0, 0, 0, 0)
    stale = _Size(0, 0)
    if new + changed < staged.records:
        stale = _Size(*(work.execute(statements.count_stale, values).fetchone() or (0, 0)))
    same = staged - _Size(new, new_lines) - _Size(changed, changed_lines) - stale
    return Fates(
        records=Counts(inserted=new, updated=changed, stale=stale.records, unchanged=same.records),
        lines=Counts(inserted=new_lines, updated=changed_lines, stale=stale.lines, unchanged=same.lines),
    )


def _mark_pages(work: Work, batch: Batch) -> None:
    first, last = batch.first_page or (0, 0), batch.last_page or (0, 0)
    work.execute(
        _MARK_PAGES,
        {
            "run_id": batch.run_id,
            "first_range": first[0],
            "first_page": first[1],
            "last_range": last[0],
            "last_page": last[1],
        },
    )


class _Statements(msgspec.Struct, frozen=True):
    """The statements of one entity. Names come from `tables`, never from data; values are always parameters."""

    stage: bytes
    copy: bytes
    keep_history: bytes
    take_busy: bytes
    upsert: bytes
    count_stale: bytes


@cache
def _statements(table: EntityTable) -> _Statements:
    name, history, stage = table.name, table.history, table.stage
    names = ", ".join(table.column_names)
    # The collation of the entity tables: two texts of different collations cannot be compared.
    collated = {"text": 'text COLLATE "C"'}
    typed = ", ".join(f"{column.name} {collated.get(column.pg_type, column.pg_type)}" for column in table.columns)
    settings = ", ".join(f"{column} = excluded.{column}" for column in (*table.column_names[1:], "batch_id"))
    lines = table.lines_column or "0"
    busy_lines = f"s.{table.lines_column}" if table.lines_column else "0"
    data = ", ".join(f"'{column}', {column}" for column in table.column_names)
    newer = "t.id = s.id AND t.integration = %(integration)s AND t.version < s.version"
    return _Statements(
        stage=f"CREATE TEMP TABLE IF NOT EXISTS {stage} ({typed}) ON COMMIT DELETE ROWS".encode(),
        copy=f"COPY {stage} ({names}) FROM STDIN (FORMAT binary)".encode(),
        # Locked in id order: two transactions that lock the same rows in two orders deadlock.
        keep_history=f"""
            WITH superseded AS (
                SELECT t.* FROM {name} t JOIN {stage} s ON {newer} ORDER BY t.id FOR UPDATE OF t)
            INSERT INTO {history} (integration, {names}, batch_id, superseded_by)
            SELECT integration, {names}, batch_id, %(batch_id)s FROM superseded
            ON CONFLICT (id, integration, version) DO NOTHING""".encode(),
        take_busy=f"""
            WITH free AS (
                SELECT t.id FROM {name} t JOIN {stage} s ON {newer} ORDER BY t.id FOR UPDATE OF t SKIP LOCKED)
            DELETE FROM {stage} s USING {name} t
             WHERE {newer} AND s.id NOT IN (SELECT id FROM free)
            RETURNING s.id, {busy_lines}::bigint""".encode(),
        # Equal versions are left out before the insert and older ones by the guard after it, so that a
        # writer in between cannot be overwritten by what was read before it.
        upsert=f"""
            WITH written AS (
                INSERT INTO {name} AS t (integration, {names}, batch_id)
                SELECT %(integration)s, {names}, %(batch_id)s FROM {stage} s
                 WHERE NOT EXISTS (SELECT FROM {name} t WHERE t.id = s.id AND t.integration = %(integration)s
                                      AND t.version >= s.version)
                 ORDER BY s.id
                ON CONFLICT (id, integration) DO UPDATE SET {settings} WHERE t.version < excluded.version
                RETURNING t.*, (xmax = 0) AS is_new),
            told AS (
                INSERT INTO event (event_id, source, type, subject, time, partition_key, correlation_id, silent, data)
                SELECT new_event_id(), %(source)s, %(type)s, '{name}/' || id, clock_timestamp(),
                       {table.partition_column}, %(run_id)s, %(silent)s, jsonb_build_object({data})
                  FROM written)
            SELECT count(*) FILTER (WHERE is_new), coalesce(sum({lines}) FILTER (WHERE is_new), 0)::bigint,
                   count(*) FILTER (WHERE NOT is_new), coalesce(sum({lines}) FILTER (WHERE NOT is_new), 0)::bigint
              FROM written""".encode(),
        count_stale=f"""
            SELECT count(*), coalesce(sum({busy_lines}), 0)::bigint FROM {stage} s JOIN {name} t ON t.id = s.id AND t.integration = %(integration)s
             WHERE t.version > s.version""".encode(),
    )
