"""
Build Arrow columns and load them into a table by binary COPY, the cheapest way.

pgpq encodes Arrow for COPY: a row becomes bytes without ever being a Python object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from crossdock.db.database import Work

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """A column of a table, or a value that is only checked."""

    name: str
    #: The PostgreSQL type, which COPY needs.
    pg_type: str

    @property
    def declared(self) -> str:
        """The column as SQL declares it, in the collation of the tables: two texts of different collations cannot be compared."""
        return f"{self.name} {self.pg_type}" + (' COLLATE "C"' if self.pg_type == "text" else "")


@cache
def arrow_type(pg_type: str) -> pa.DataType:
    """Map a PostgreSQL type to Arrow's type; jsonb is transferred as text."""
    import pyarrow as pa

    return {
        "text": pa.string(),
        "jsonb": pa.string(),
        "int8": pa.int64(),
        "bool": pa.bool_(),
        "timestamptz": pa.timestamp("us", tz="UTC"),
    }[pg_type]


class BeyondColumn(ValueError):
    """A value that its column cannot hold, such as a sum of more than 64 bits."""

    def __init__(self, column: str, pg_type: str) -> None:
        super().__init__(f"{column} has a value that no {pg_type} holds")
        self.column = column


def as_columns(columns: Sequence[Column], values: Mapping[str, Sequence[Any]]) -> pa.RecordBatch:
    """
    Convert *values*, one sequence under the name of each of *columns*, into an Arrow record batch.

    Raises:
        BeyondColumn: a column cannot hold one of its values.

    """
    import pyarrow as pa

    return pa.RecordBatch.from_arrays(
        [_array(column, values[column.name]) for column in columns], [column.name for column in columns]
    )


def _array(column: Column, values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values, arrow_type(column.pg_type))
    except (OverflowError, ValueError, TypeError) as error:  # Arrow's own errors are subclasses
        raise BeyondColumn(column.name, column.pg_type) from error


_ROWS_PER_WRITE = 4_000


def copy_in(work: Work, table_name: str, columns: Sequence[Column], rows: pa.Table) -> None:
    """Append *rows*, which has the *columns* in any order, to the table."""
    from pgpq import ArrowToPostgresBinaryEncoder

    # COPY joins by position.
    rows = rows.select([column.name for column in columns])
    encoder = ArrowToPostgresBinaryEncoder.new_with_encoders(rows.schema, _encoders(tuple(columns)))
    names = ", ".join(column.name for column in columns)
    with work.cursor().copy(f"COPY {table_name} ({names}) FROM STDIN (FORMAT binary)".encode()) as copy:
        copy.write(encoder.write_header())
        # In pieces: data that waits for the server stays in memory, and several connections load at once.
        for batch in rows.to_batches(max_chunksize=_ROWS_PER_WRITE):
            copy.write(encoder.write_batch(batch))
        copy.write(encoder.finish())


@cache
def _encoders(columns: tuple[Column, ...]) -> dict[str, Any]:
    import pyarrow as pa
    from pgpq import ArrowToPostgresBinaryEncoder
    from pgpq.encoders import StringEncoderBuilder
    from pgpq.schema import Jsonb

    fields = {column.name: pa.field(column.name, arrow_type(column.pg_type)) for column in columns}
    return {
        column.name: StringEncoderBuilder.new_with_output(fields[column.name], Jsonb())
        if column.pg_type == "jsonb"
        else ArrowToPostgresBinaryEncoder.infer_encoder(fields[column.name])
        for column in columns
    }
