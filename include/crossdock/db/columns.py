"""
Rows as Arrow columns, and columns into a table by binary COPY: the cheapest way in.

Arrow to COPY is pgpq's: a row becomes bytes without ever being a Python object.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    #: The PostgreSQL type, as COPY must be told.
    pg_type: str


@cache
def arrow_type(pg_type: str) -> pa.DataType:
    """Arrow's type for a column's PostgreSQL type; a jsonb travels as its text."""
    import pyarrow as pa

    return {
        "text": pa.string(),
        "jsonb": pa.string(),
        "int8": pa.int64(),
        "bool": pa.bool_(),
        "timestamptz": pa.timestamp("us", tz="UTC"),
    }[pg_type]


def as_columns(columns: Sequence[Column], values: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """*values*, one sequence for each of *columns*, as Arrow has them."""
    import pyarrow as pa

    arrays = [pa.array(each, arrow_type(column.pg_type)) for column, each in zip(columns, values, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, [column.name for column in columns])


_ROWS_A_PIECE = 4_000


def copy_in(work: Work, table_name: str, columns: Sequence[Column], rows: pa.Table) -> None:
    """*rows*, which has *columns* and no others, at the end of the table."""
    from pgpq import ArrowToPostgresBinaryEncoder

    encoder = ArrowToPostgresBinaryEncoder.new_with_encoders(rows.schema, _encoders(tuple(columns)))
    names = ", ".join(column.name for column in columns)
    with work.cursor().copy(f"COPY {table_name} ({names}) FROM STDIN (FORMAT binary)".encode()) as copy:
        copy.write(encoder.write_header())
        # In pieces: what waits for the server is kept in memory, and several connections load at once.
        for batch in rows.to_batches(max_chunksize=_ROWS_A_PIECE):
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
