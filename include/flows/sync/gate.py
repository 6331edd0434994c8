"""The quality gate of a sync: raw pages in, accepted columns and rejected records out. No database, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from include.flows.sync.declaration import Sync
from include.flows.sync.decode import DecodedPage, decoded, rejection
from include.model.quality import Failure, Rejected
from include.model.sync import Counts, Fates
from include.quality import check

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Sifted:
    """What became of a batch's records at the gate."""

    #: Rows of the entity's table, no id twice.
    accepted: pa.Table
    rejected: tuple[Rejected, ...]
    #: Records left out because the batch has the same id in the same or a newer version.
    repeats: Fates

    @property
    def accepted_count(self) -> int:
        return int(self.accepted.num_rows)


def sifted(sync: Sync, bodies: Sequence[bytes]) -> Sifted:
    """
    The records of *bodies*, sifted by what can be read, the expectations, and repetition.

    Raises:
        PageUnreadable: a body is no page of results.
        SuiteBroken: an expectation is declared wrongly.

    """
    pages = [decoded(body, sync.record_type, sync.key_field, sync.lines_field) for body in bodies]
    rows = [sync.to_row(record) for page in pages for record in page.records]
    rejected = [record for page in pages for record in page.rejected]
    table = _columns(sync, rows)
    failures = check(table, sync.expectations) | _off_the_calendar(sync, rows)
    if failures:
        raws = _raws(pages, failures)
        rejected += [
            rejection(raws[row_no], found, sync.key_field, sync.lines_field)
            for row_no, found in sorted(failures.items())
        ]
    keep, repeats = _newest(sync, rows, failures)
    table = table.select(list(sync.table.column_names))
    if len(keep) < len(rows):
        import pyarrow as pa

        # Typed: of no rows at all, Arrow could not tell that they are numbers.
        table = table.take(pa.array(keep, pa.int64()))
    return Sifted(table, tuple(rejected), repeats)


def _columns(sync: Sync, rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    import pyarrow as pa

    columns = zip(*rows, strict=True) if rows else ([] for _ in sync.columns)
    return pa.table(
        {
            column.name: pa.array(values, type=arrow_type(column.pg_type))
            for column, values in zip(sync.columns, columns, strict=True)
        }
    )


#: A day from the ends, so that it is an instant in every zone.
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def _off_the_calendar(sync: Sync, rows: Sequence[tuple[Any, ...]]) -> dict[int, tuple[Failure, ...]]:
    """Rows with an instant that is none in UTC: such a row can be written as a column and never be read back."""
    found: dict[int, tuple[Failure, ...]] = {}
    for position, column in enumerate(sync.table.columns):
        if column.pg_type != "timestamptz":
            continue
        for row_no, row in enumerate(rows):
            at = row[position]
            if at is not None and not _FIRST <= at <= _LAST:
                message = "an instant between the years 1 and 9999; correct the date"
                found[row_no] = (Failure("instant_is_on_the_calendar", column.name, message, at.isoformat()),)
    return found


def arrow_type(pg_type: str) -> pa.DataType:
    """Arrow's type for a column's PostgreSQL type."""
    import pyarrow as pa

    return {
        "text": pa.string(),
        "jsonb": pa.string(),
        "int8": pa.int64(),
        "bool": pa.bool_(),
        "timestamptz": pa.timestamp("us", tz="UTC"),
    }[pg_type]


def _raws(pages: Sequence[DecodedPage], row_nos: Any) -> dict[int, bytes]:
    """The raw records under *row_nos*, which count through all pages."""
    wanted, found, first = set(row_nos), {}, 0
    for page in pages:
        here = [row_no for row_no in range(first, first + len(page.records)) if row_no in wanted]
        if here:
            raws = page.raws()
            found.update({row_no: raws[row_no - first] for row_no in here})
        first += len(page.records)
    return found


def _newest(sync: Sync, rows: Sequence[tuple[Any, ...]], failures: Any) -> tuple[list[int], Fates]:
    """
    The row numbers to load, one for each id, and what the others count as.

    A source that is read while it changes shows a record twice; a load takes each id once.
    """
    lines_at = sync.table.column_names.index(sync.table.lines_column) if sync.table.lines_column else None
    chosen: dict[str, int] = {}
    repeats = Fates()
    for row_no, (record_id, version, *_) in enumerate(rows):
        if row_no in failures:
            continue
        before = chosen.setdefault(record_id, row_no)
        if before == row_no:
            continue
        known = rows[before][1]
        left_out = before if version > known else row_no
        chosen[record_id] = row_no if version > known else before
        fate = "unchanged" if version == known else "stale"
        lines = rows[left_out][lines_at] if lines_at is not None else 0
        repeats += Fates(records=Counts(**{fate: 1}), lines=Counts(**{fate: lines}))
    return list(chosen.values()), repeats
