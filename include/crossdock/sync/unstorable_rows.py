"""
Find the rows of a batch that the tables could not hold, by the declaration of their dataset alone.

These are no expectations: no merchant can lower them, and each stream has them, whatever its rules are.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from crossdock.sync.dataset import LONGEST_INDEXED, Schema
from crossdock.sync.quarantine.model import Failure

if TYPE_CHECKING:
    import pyarrow as pa

#: A day from the ends of the calendar, so that it is a valid instant in every time zone.
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def unstorable_rows(dataset: Schema, table: pa.Table) -> dict[int, tuple[Failure, ...]]:
    """Find the rows of *table* that cannot be stored, by row number from 0."""
    found: dict[int, tuple[Failure, ...]] = {}
    for failure, broken in (*_outside_calendar(dataset, table), *_too_long(dataset, table)):
        found.update({row_no: (*found.get(row_no, ()), failure) for row_no in broken})
    return found


def _outside_calendar(dataset: Schema, table: pa.Table) -> Iterator[tuple[Failure, list[int]]]:
    """Find instants that Python cannot represent in UTC: they could be written as a column and never be read."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for column in dataset.columns:
        if column.pg_type == "timestamptz":
            instants = table.column(column.name)
            first, last = pa.scalar(_FIRST, instants.type), pa.scalar(_LAST, instants.type)
            message = "Dates must be between the years 1 and 9999. Correct the date"
            failure = Failure("instant_is_on_the_calendar", column.name, message, "a date outside the calendar")
            yield failure, _rows(pc.or_(pc.less(instants, first), pc.greater(instants, last)))


def _too_long(dataset: Schema, table: pa.Table) -> Iterator[tuple[Failure, list[int]]]:
    """Find texts that are longer than an entry of an index can be: PostgreSQL would refuse the whole batch."""
    import pyarrow.compute as pc

    for name in dataset.indexed_names:
        message = f"{name} must have at most {LONGEST_INDEXED} characters. Shorten it at the source"
        failure = Failure("text_fits_its_index", name, message, "a longer text")
        yield failure, _rows(pc.greater(pc.utf8_length(table.column(name)), LONGEST_INDEXED))


def _rows(broken: pa.ChunkedArray) -> list[int]:
    """List the numbers of the rows for which *broken* is true; hardly ever is one."""
    import pyarrow.compute as pc

    return list(pc.indices_nonzero(broken.fill_null(False)).to_pylist()) if pc.any(broken).as_py() else []
