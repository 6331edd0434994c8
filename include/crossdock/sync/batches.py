"""One transaction a batch: rows, history, events, quarantine, counts and watermark together, or nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from crossdock.core.errors import Terminal
from crossdock.db import leases
from crossdock.db.database import Work
from crossdock.sync import deferred_records as open_records
from crossdock.sync import ledger as runs
from crossdock.sync import upsert as entity_rows
from crossdock.sync import watermarks
from crossdock.sync.compare_versions import Arrivals, Size, size_of, sort_out
from crossdock.sync.ledger import Run
from crossdock.sync.model import Fates
from crossdock.sync.quarantine import repository as quarantine
from crossdock.sync.quarantine.model import Rejected
from crossdock.sync.tables import EntityTable
from crossdock.sync.upsert import Left

if TYPE_CHECKING:
    import pyarrow as pa


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


@dataclass(frozen=True, kw_only=True)
class Content:
    """What validation made of a batch."""

    #: The table's columns, in their order; no id twice.
    accepted: pa.Table
    rejected: tuple[Rejected, ...]
    #: Records left out because the batch has the same id in the same or a newer version.
    repeats: Fates

    @property
    def accepted_count(self) -> int:
        return int(self.accepted.num_rows)


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
        Overtaken: another writer brought one of its records at the same moment; nothing is written, load it again.
        Unaccounted: *content* is not all that the batch's pages brought; nothing is written.
        psycopg.Error: translated by the transaction around it; nothing is written.

    """
    leases.check(work, run.lease, run.run_id, run.fencing_token)
    if work.execute(_CLAIM, {"batch_id": batch.batch_id}).rowcount == 0:
        return Fates()
    arrivals = sort_out(work, table, run.integration, content.accepted)
    left = entity_rows.write(work, table, run, batch.batch_id, arrivals)
    loaded = _without(content.accepted, left.busy)
    open_records.close(work, run, loaded, content.rejected)
    quarantine.close_superseded(work, run, loaded)
    kept = quarantine.keep(work, run, content.rejected)
    fates = _fates(table, arrivals, left) + kept + content.repeats + Fates.of("read", batch.records, batch.lines)
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


def _without(rows: pa.Table, busy: Collection[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    return rows.filter(pc.invert(pc.is_in(rows.column("id"), pa.array(busy, pa.string())))) if busy else rows


def _fates(table: EntityTable, arrivals: Arrivals, left: Left) -> Fates:
    busy = Size(len(left.busy), sum(left.busy.values()))
    changed = size_of(table, arrivals.changed).minus(busy).minus(left.known).minus(left.stale)
    return (
        Fates.of("inserted", *size_of(table, arrivals.new))
        + Fates.of("updated", *changed)
        + Fates.of("unchanged", *arrivals.known)
        + Fates.of("unchanged", *left.known)
        + Fates.of("stale", *arrivals.stale)
        + Fates.of("stale", *left.stale)
        + Fates.of("held", *busy)
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
