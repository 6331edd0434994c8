"""The quality gate of a sync: raw pages in, accepted columns and rejected records out. No database, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from include.flows.sync.declaration import Sync
from include.flows.sync.decode import DecodedPage, decoded, rejection
from include.model.quality import Rejected
from include.model.sync import Counts
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
    repeats: Counts

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
    pages = [decoded(body, sync.record_type, sync.key_field) for body in bodies]
    rows = [sync.to_row(record) for page in pages for record in page.records]
    rejected = [record for page in pages for record in page.rejected]
    table = _columns(sync, rows)
    failures = check(table, sync.expectations)
    if failures:
        raws = _raws(pages, failures)
        rejected += [rejection(raws[row_no], found, sync.key_field) for row_no, found in sorted(failures.items())]
    keep, repeats = _newest(rows, failures)
    if len(keep) < len(rows):
        table = table.take(keep)
    return Sifted(table, tuple(rejected), repeats)


def _columns(sync: Sync, rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    import pyarrow as pa

    columns = zip(*rows, strict=True) if rows else ([] for _ in sync.table.columns)
    return pa.table(
        {
            column.name: pa.array(values, type=arrow_type(column.pg_type))
            for column, values in zip(sync.table.columns, columns, strict=True)
        }
    )


def arrow_type(pg_type: str) -> pa.DataType:
    """Arrow's type for a column's PostgreSQL type."""
    import pyarrow as pa

    return {"text": pa.string(), "int8": pa.int64(), "bool": pa.bool_(), "timestamptz": pa.timestamp("us", tz="UTC")}[
        pg_type
    ]


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


def _newest(rows: Sequence[tuple[Any, ...]], failures: Any) -> tuple[list[int], Counts]:
    """
    The row numbers to load, one for each id, and what the others count as.

    A source that is read while it changes shows a record twice; a load takes each id once.
    """
    chosen: dict[str, int] = {}
    unchanged = stale = 0
    for row_no, (record_id, version, *_) in enumerate(rows):
        if row_no in failures:
            continue
        before = chosen.get(record_id)
        if before is None:
            chosen[record_id] = row_no
            continue
        known = rows[before][1]
        unchanged += version == known
        stale += version != known
        if version > known:
            chosen[record_id] = row_no
    return list(chosen.values()), Counts(unchanged=unchanged, stale=stale)
