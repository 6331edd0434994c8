"""Load each batch in one transaction: rows, history, events, quarantine, counts and watermark together, or nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from crossdock.core.errors import Terminal
from crossdock.db import leases
from crossdock.db.database import Work
from crossdock.sync import deferred_records, ledger, watermarks
from crossdock.sync.compare_versions import ComparedRows, Size, compare_versions, size_of
from crossdock.sync.dataset import Schema
from crossdock.sync.ledger import Run
from crossdock.sync.model import RowCounts
from crossdock.sync.parts import Parts
from crossdock.sync.parts import write as write_parts
from crossdock.sync.quarantine import repository as quarantine_repository
from crossdock.sync.quarantine.model import Rejected, Warned
from crossdock.sync.upsert import SkippedRows, upsert

if TYPE_CHECKING:
    import pyarrow as pa


class Unaccounted(Terminal):
    """A batch or a run does not have as many records as were read: a file was replaced, or a task was skipped."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive pages that are validated and loaded together."""

    batch_id: int
    run_id: str
    batch_no: int
    #: (range, page) of the first and the last page; None for a replay, which has no pages.
    first_page: tuple[int, int] | None
    last_page: tuple[int, int] | None
    records: int
    lines: int
    loaded: bool


@dataclass(frozen=True, kw_only=True)
class Content:
    """The result of validating a batch."""

    #: The accepted rows with the columns of the table; each id once.
    accepted: pa.Table
    rejected: tuple[Rejected, ...]
    #: Records that are skipped because the batch has the same id in the same or a newer version.
    repeats: RowCounts
    #: Rules of the level `warn` that accepted records fail.
    warned: tuple[Warned, ...] = ()

    @property
    def accepted_count(self) -> int:
        return int(self.accepted.num_rows)


def name_of(run_id: str, batch_no: int) -> str:
    """Name the batch's files in the landing."""
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

#: Idempotent: the commit claims the batch's row, so a second worker that loads the same batch finds no row and stops.
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
    """Record a batch that is validated and can be loaded. Idempotent."""
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
    """List the run's batches in loading order."""
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


def load(
    work: Work,
    dataset: Schema,
    run: Run,
    batch: Batch,
    content: Content,
    *,
    parts: Parts | None = None,
    compares_content: bool = False,
) -> RowCounts:
    """
    Load the batch and count the outcome of each of its records. Call it in one transaction.

    *compares_content* is the stream's.

    Idempotent: a batch that is loaded already is skipped and counts nothing.

    Raises:
        LeaseLost: another run has overtaken this one; nothing is written.
        Overtaken: another writer loaded one of its records at the same moment; nothing is written, load it again.
        Unaccounted: *content* does not have all records of the batch's pages; nothing is written.
        psycopg.Error: the transaction around it translates it; nothing is written.

    """
    leases.check(work, run.lease, run.run_id, run.fencing_token)
    if work.execute(_CLAIM, {"batch_id": batch.batch_id}).rowcount == 0:
        return RowCounts()
    rows, skipped = write_rows(
        work, dataset, run, batch.batch_id, content.accepted, parts=parts, compares_content=compares_content
    )
    loaded = _without(content.accepted, skipped.busy)
    deferred_records.close(work, run, loaded, content.rejected)
    quarantine_repository.close_superseded(work, run, loaded)
    rejected = quarantine_repository.add(work, run, content.rejected, compares_content=compares_content)
    read = RowCounts.of("read", batch.records, batch.lines)
    counts = read + _outcomes(dataset, rows, skipped) + rejected + content.repeats
    if not counts.records.balanced:
        # Before the watermark passes the missing records.
        raise Unaccounted(
            f"Batch {batch.batch_no} of run {run.run_id} has {counts.records.accounted} records, but {batch.records} were "
            "read: its files were replaced. Clear `extract` with its downstream tasks"
        )
    ledger.add_counts(work, run.run_id, counts)
    ledger.add_warnings(work, run.run_id, content.warned)
    if batch.first_page and batch.last_page:
        _mark_pages(work, batch)
    if run.moves_watermark:
        watermarks.advance(work, run.lease, run.run_id, run.window)
    return counts


def write_rows(
    work: Work,
    dataset: Schema,
    run: Run,
    batch_id: int,
    accepted: pa.Table,
    *,
    parts: Parts | None = None,
    compares_content: bool = False,
) -> tuple[ComparedRows, SkippedRows]:
    """Write those of the *accepted* rows that are new or changed, with their parts, history and events."""
    rows = compare_versions(work, dataset, run.integration, accepted, compares_content=compares_content)
    skipped = upsert(work, dataset, run, batch_id, rows, compares_content=compares_content)
    if parts and rows.new.num_rows + rows.changed.num_rows > skipped.records:
        write_parts(work, parts, dataset, run, batch_id, rows=rows)
    return rows, skipped


def _without(rows: pa.Table, busy: Collection[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    return rows.filter(pc.invert(pc.is_in(rows.column("id"), pa.array(busy, pa.string())))) if busy else rows


def _outcomes(dataset: Schema, rows: ComparedRows, skipped: SkippedRows) -> RowCounts:
    busy = Size(len(skipped.busy), sum(skipped.busy.values()))
    changed = size_of(dataset, rows.changed).minus(busy).minus(skipped.known).minus(skipped.stale)
    return (
        RowCounts.of("inserted", *size_of(dataset, rows.new))
        + RowCounts.of("updated", *changed)
        + RowCounts.of("unchanged", *rows.known)
        + RowCounts.of("unchanged", *skipped.known)
        + RowCounts.of("stale", *rows.stale)
        + RowCounts.of("stale", *skipped.stale)
        + RowCounts.of("held", *busy)
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
