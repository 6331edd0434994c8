"""Compare a batch with the versions in the hub before anything is written: an unchanged record costs one look-up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from crossdock.db.database import Work
from crossdock.sync.dataset import Schema

if TYPE_CHECKING:
    import pyarrow as pa


class Size(NamedTuple):
    """A number of records, and of their lines."""

    records: int
    lines: int

    def plus(self, other: Size) -> Size:
        return Size(self.records + other.records, self.lines + other.lines)

    def minus(self, other: Size) -> Size:
        return Size(self.records - other.records, self.lines - other.lines)


NOTHING = Size(0, 0)


@dataclass(frozen=True)
class ComparedRows:
    """A batch's rows, grouped by the version that the hub has."""

    #: The hub does not have the record.
    new: pa.Table
    #: The hub has an older version; of a stream that compares content, also the same one, whose content `upsert` compares.
    changed: pa.Table
    #: The hub has this version.
    known: Size
    #: The hub has a newer version.
    stale: Size
    #: How many of the changed ones have the version that the hub has.
    same_version: int = 0
    #: Whether hardly another row of the hub lies between the first and the last id, as in a full read, which is sorted by id.
    is_range: bool = True


def compare_versions(
    work: Work, dataset: Schema, integration: str, rows: pa.Table, *, compares_content: bool = False
) -> ComparedRows:
    """Compare each of *rows* with the version that the hub has now. Nothing is locked yet."""
    import pyarrow.compute as pc

    known, is_range = _versions(work, dataset, integration, rows.column("id"))
    if not known.num_rows:
        return ComparedRows(rows, rows.slice(0, 0), NOTHING, NOTHING, is_range=is_range)
    had = known.column("version").take(pc.index_in(rows.column("id"), value_set=known.column("id")))
    version = rows.column("version")
    # Of the rows that are not written only the size is needed, so the other columns are left out.
    slim = rows.select(["id", dataset.lines] if dataset.lines else ["id"])
    same = size_of(dataset, slim.filter(pc.equal(had, version)))
    return ComparedRows(
        new=rows.filter(pc.is_null(had)),
        changed=rows.filter((pc.less_equal if compares_content else pc.less)(had, version)),
        known=NOTHING if compares_content else same,
        stale=size_of(dataset, slim.filter(pc.greater(had, version))),
        same_version=same.records if compares_content else 0,
        is_range=is_range,
    )


def size_of(dataset: Schema, rows: pa.Table) -> Size:
    """Count *rows* and their lines."""
    import pyarrow.compute as pc

    lines = pc.sum(rows.column(dataset.lines)).as_py() if dataset.lines else 0
    return Size(rows.num_rows, lines or 0)


#: A range of ids that holds more than this many times the requested ids is not read to its end.
_SPARSE = 2


def _versions(work: Work, dataset: Schema, integration: str, ids: pa.ChunkedArray) -> tuple[pa.Table, bool]:
    """
    Read id and version of those of *ids* that the hub has, and perhaps of others, and whether they are one range.

    A full read is sorted by id: its batch is one range of the index, which is read at a tenth of the cost of
    looking up each id. The ids of a delta may be anywhere, and then the range scan stops at its limit.
    """
    import pyarrow.compute as pc

    if not len(ids):
        return _as_table([]), True
    ends = pc.min_max(ids).as_py()
    most = len(ids) * _SPARSE
    cursor = work.cursor(binary=True)
    cursor.execute(
        f"""SELECT id, version FROM {dataset.table}
             WHERE integration = %(integration)s AND id BETWEEN %(first)s AND %(last)s LIMIT %(limit)s""".encode(),
        {"integration": integration, "first": ends["min"], "last": ends["max"], "limit": most + 1},
    )
    rows = cursor.fetchall()
    is_range = len(rows) <= most
    if not is_range:
        cursor.execute(
            f"SELECT id, version FROM {dataset.table} WHERE integration = %(integration)s AND id = ANY(%(ids)s)".encode(),
            {"integration": integration, "ids": ids.to_pylist()},
        )
        rows = cursor.fetchall()
    return _as_table(rows), is_range


def _as_table(rows: list[tuple[str, int]]) -> pa.Table:
    import pyarrow as pa

    ids, versions = [row[0] for row in rows], [row[1] for row in rows]
    return pa.table({"id": pa.array(ids, pa.string()), "version": pa.array(versions, pa.int64())})
