"""Write a view for analysts to a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.types.string import TextLoader

from crossdock.core.errors import BadRequest, NotFound
from crossdock.core.export_formats import ExportFormat
from crossdock.db import views
from crossdock.db.database import Store
from crossdock.observability import audit

if TYPE_CHECKING:
    import pyarrow as pa

#: So many rows are in memory at a time.
_ROWS = 10_000
#: A cell that begins so is a formula to a spreadsheet.
_FORMULA = r"^[=+\-@\t\r]"


def export(
    store: Store,
    name: str,
    file: IO[bytes],
    form: ExportFormat,
    *,
    personal: bool = False,
    for_spreadsheets: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """
    Write all rows of the view *name* to *file*, as they are at one instant; return how many there were.

    Instants are UTC and JSON is text, in both formats. In a CSV file an empty field is null, and an empty text is "".

    Args:
        store: The hub's database.
        name: The view.
        file: Open for writing.
        form: The format.
        personal: Have personal data in full. Record it first: see `record_personal`.
        for_spreadsheets: In a CSV file, put ' before a text that a spreadsheet would take for a formula.
        progress: Called with the rows that are written so far.

    Raises:
        NotFound: there is no such view.

    """
    view = find(name)
    place = sql.Identifier(views.schema_of(store.schema, personal=personal and view.is_personal), view.name)
    with store.transaction() as work:
        work.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        work.execute("SET LOCAL TimeZone = 'UTC'")
        if form is ExportFormat.CSV:
            return _write_csv(work, _selected(work, place, for_spreadsheets=for_spreadsheets), file, progress)
        return _write_parquet(work, place, file, progress)


def find(name: str) -> views.View:
    """
    Find a view by its name.

    Raises:
        NotFound: there is none.

    """
    for view in views.VIEWS:
        if view.name == name:
            return view
    raise NotFound(f"There is no view {name!r}. There are: {', '.join(view.name for view in views.VIEWS)}")


def record_personal(store: Store, what: str, *, actor: str, reason: str) -> None:
    """
    Record in the audit trail that somebody reads personal data, and why.

    Raises:
        BadRequest: no reason is given.

    """
    if not reason.strip():
        raise BadRequest("Personal data needs a reason, which goes into the audit trail")
    with store.transaction() as work:
        audit.add(work, actor=actor, act="personal_data.read", subject=what, detail={"reason": reason})


def _selected(work: psycopg.Connection, place: sql.Identifier, *, for_spreadsheets: bool) -> sql.Composable:
    if not for_spreadsheets:
        return sql.SQL("SELECT * FROM {}").format(place)
    columns = [
        sql.SQL("regexp_replace({0}, {1}, '''\\&') AS {0}").format(sql.Identifier(column.name), sql.Literal(_FORMULA))
        if column.type_code == psycopg.adapters.types["text"].oid
        else sql.Identifier(column.name)
        for column in _described(work, place)
    ]
    return sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(columns), place)


def _described(work: psycopg.Connection, place: sql.Identifier) -> Sequence[psycopg.Column]:
    return work.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(place)).description or []


def _write_csv(
    work: psycopg.Connection, selected: sql.Composable, file: IO[bytes], progress: Callable[[int], None]
) -> int:
    with work.cursor() as cursor:
        with cursor.copy(sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, HEADER)").format(selected)) as copied:
            for number, block in enumerate(copied):
                file.write(block)
                if number % _ROWS == 0:
                    progress(number)
        return cursor.rowcount


def _write_parquet(
    work: psycopg.Connection, place: sql.Identifier, file: IO[bytes], progress: Callable[[int], None]
) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([pa.field(column.name, _arrow_type(column)) for column in _described(work, place)])
    written = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in _batches(work, place):
            columns = list(zip(*rows, strict=True))
            writer.write_batch(
                pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema)
            )
            written += len(rows)
            progress(written)
    return written


def _batches(work: psycopg.Connection, place: sql.Identifier) -> Iterator[list[tuple[Any, ...]]]:
    with work.cursor("export") as cursor:
        cursor.adapters.register_loader("jsonb", TextLoader)
        cursor.execute(sql.SQL("SELECT * FROM {}").format(place))
        while rows := cursor.fetchmany(_ROWS):
            yield rows


def _arrow_type(column: psycopg.Column) -> pa.DataType:
    import pyarrow as pa

    known = {
        "int4": pa.int64(),
        "int8": pa.int64(),
        "bool": pa.bool_(),
        "timestamptz": pa.timestamp("us", tz="UTC"),
        "text": pa.string(),
        "jsonb": pa.string(),
    }
    return known[psycopg.adapters.types[column.type_code].name]
