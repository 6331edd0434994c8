"""The quality gate of a sync: raw pages in, accepted columns and rejected records out. No database, no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from crossdock.db.columns import as_columns
from crossdock.sync.batches import Content
from crossdock.sync.declaration import Sync
from crossdock.sync.decode import decoded, raw_records, rejection
from crossdock.sync.expectations import check
from crossdock.sync.model import Fates
from crossdock.sync.quarantine.model import Failure, Rejected

if TYPE_CHECKING:
    import pyarrow as pa

#: Gives the pages of a batch; called again where a record of theirs was refused, so that nobody has to keep them.
Pages = Callable[[], Iterable[bytes]]

#: Row number, from 0 → what the row failed.
Failures = Mapping[int, tuple[Failure, ...]]


def sifted(sync: Sync, bodies: Sequence[bytes]) -> Content:
    """The records of one batch; see `sifted_together`."""
    (only,) = sifted_together(sync, [lambda: bodies])
    return only


def sifted_together(sync: Sync, batches: Sequence[Pages]) -> list[Content]:
    """
    The records of each of *batches*, sifted by what can be read, the expectations, and repetition.

    The expectations look at all batches at once: what they cost is mostly per look, not per row.

    Raises:
        PageUnreadable: a body is no page of results.
        SuiteBroken: an expectation is declared wrongly.

    """
    pieces: list[pa.RecordBatch] = []
    read = [_read(sync, pages(), pieces) for pages in batches]
    table = _one_table(sync, pieces)
    pieces.clear()  # the table holds a copy
    failures = {**check(table, sync.expectations), **_off_the_calendar(sync, table)}
    ends = list(accumulate((batch.rows for batch in read), initial=0))
    return [
        _sift(sync, pages, batch, table.slice(first, batch.rows), _within(failures, first, batch.rows))
        for pages, batch, first in zip(batches, read, ends, strict=False)
    ]


@dataclass(frozen=True)
class _Read:
    """How many records each page of a batch has that can be read, and those that cannot."""

    page_rows: list[int]
    rejected: list[Rejected]
    #: Pages, by number, of which some records could not be read.
    broken: set[int]

    @property
    def rows(self) -> int:
        return sum(self.page_rows)


def _read(sync: Sync, bodies: Iterable[bytes], pieces: list[pa.RecordBatch]) -> _Read:
    """A batch's records as columns, a page at a time, onto the end of *pieces*."""
    page_rows, rejected, broken = [], [], set()
    for page_no, body in enumerate(bodies):
        page = decoded(body, sync.record_type, sync.key_field, sync.lines_field)
        if page.rejected:
            rejected += page.rejected
            broken.add(page_no)
        page_rows.append(len(page.records))
        if page.records:
            pieces.append(as_columns(sync.columns, sync.to_columns(page.records)))
    return _Read(page_rows, rejected, broken)


def _one_table(sync: Sync, pages: Sequence[pa.RecordBatch]) -> pa.Table:
    import pyarrow as pa

    empty = as_columns(sync.columns, [() for _ in sync.columns])
    # In one piece: Great Expectations' pandas would put the pieces together once for each rule.
    return pa.Table.from_batches(pages or [empty]).combine_chunks()


def _within(failures: Failures, first: int, rows: int) -> Failures:
    return {row_no - first: found for row_no, found in failures.items() if first <= row_no < first + rows}


def _sift(sync: Sync, pages: Pages, read: _Read, table: pa.Table, failures: Failures) -> Content:
    """One batch by what the expectations found of it."""
    raws = _raws(sync, pages(), read, failures) if failures else {}
    refused = [
        rejection(raws[row_no], found, sync.key_field, sync.lines_field) for row_no, found in sorted(failures.items())
    ]
    accepted, repeats = _newest(sync, table, failures)
    columns = list(sync.table.column_names)
    return Content(accepted=accepted.select(columns), rejected=(*read.rejected, *refused), repeats=repeats)


#: A day from the ends, so that it is an instant in every zone.
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def _off_the_calendar(sync: Sync, table: pa.Table) -> Failures:
    """Rows with an instant that is none in UTC: such a row can be written as a column and never be read back."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found: dict[int, tuple[Failure, ...]] = {}
    for column in sync.table.columns:
        if column.pg_type != "timestamptz":
            continue
        instants = table.column(column.name)
        outside = pc.or_(
            pc.less(instants, pa.scalar(_FIRST, instants.type)), pc.greater(instants, pa.scalar(_LAST, instants.type))
        )
        if not pc.any(outside).as_py():
            continue
        message = "an instant between the years 1 and 9999; correct the date"
        failure = Failure("instant_is_on_the_calendar", column.name, message, "an instant off the calendar")
        found.update({row_no: (failure,) for row_no, off in enumerate(outside.to_pylist()) if off})
    return found


def _raws(sync: Sync, bodies: Iterable[bytes], read: _Read, row_nos: Iterable[int]) -> dict[int, bytes]:
    """The raw records under *row_nos*, which count through all of a batch's pages."""
    wanted, found, first = set(row_nos), {}, 0
    for page_no, (body, rows) in enumerate(zip(bodies, read.page_rows, strict=True)):
        here = wanted.intersection(range(first, first + rows))
        if here:
            raws: Sequence[Any] = (
                decoded(body, sync.record_type, sync.key_field, sync.lines_field).raws()
                if page_no in read.broken
                else raw_records(body)
            )
            found.update({row_no: bytes(raws[row_no - first]) for row_no in here})
        first += rows
    return found


def _newest(sync: Sync, table: pa.Table, failures: Failures) -> tuple[pa.Table, Fates]:
    """
    The rows to load, one for each id, and what the others count as.

    A source that is read while it changes shows a record twice; a load takes each id once.
    """
    import pyarrow as pa

    if not failures and _has_each_id_once(table.column("id").combine_chunks()):
        return table, Fates()
    rows = zip(table.column("id").to_pylist(), table.column("version").to_pylist(), strict=True)
    chosen: dict[str, int] = {}
    versions: dict[str, int] = {}
    repeats = Fates()
    count = partial(_repeat, sync, table)
    for row_no, (record_id, version) in enumerate(rows):
        if row_no in failures:
            continue
        if record_id not in chosen:
            chosen[record_id], versions[record_id] = row_no, version
            continue
        known = versions[record_id]
        repeats += count(chosen[record_id] if version > known else row_no, "unchanged" if version == known else "stale")
        if version > known:
            chosen[record_id], versions[record_id] = row_no, version
    # Typed: of no rows at all, Arrow could not tell that they are numbers.
    return table.take(pa.array(chosen.values(), pa.int64())), repeats


def _has_each_id_once(ids: pa.StringArray) -> bool:
    """A full read comes in the order of its ids, which is seen at a tenth of the cost of counting them."""
    import pyarrow.compute as pc

    ascending = pc.all(pc.less(ids[:-1], ids[1:])).as_py() is not False
    return ascending or pc.count_distinct(ids).as_py() == len(ids)


def _repeat(sync: Sync, table: pa.Table, row_no: int, fate: str) -> Fates:
    lines = table.column(sync.table.lines_column)[row_no].as_py() if sync.table.lines_column else 0
    return Fates.of(fate, 1, lines)
