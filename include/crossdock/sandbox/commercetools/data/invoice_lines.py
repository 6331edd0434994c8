"""The lines of a real shop's invoices, read from a parquet file: every line, unchanged."""

import math
import sys
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from crossdock.sandbox.engine.problems import CannotServeError
from crossdock.sandbox.engine.system import Report

#: The file's columns, in the order of `Line`'s fields; True if the column may be empty.
_COLUMNS = {
    "Invoice": False,
    "StockCode": False,
    "Description": True,
    "Quantity": False,
    "InvoiceDate": False,
    "Price": False,
    "Customer ID": True,
    "Country": True,
}
_NUMBERS = {"Quantity", "Price", "Customer ID"}
#: More than the distinct prices or customers in a year of half a million lines.
_CACHE_SIZE = 100_000


class DatasetRefusedError(CannotServeError):
    """The file cannot be served whole; the message names the column or the line."""


class Line(NamedTuple):
    """One line of one invoice. Two equal lines are two lines."""

    invoice: str
    #: Unchanged, including blanks, letter case and codes for what is not a product.
    code: str
    description: str | None
    #: May be zero or less.
    quantity: int
    #: `2009-12-01 07:45:00`, by the shop's wall clock.
    dated: str
    #: GBP, exact: the shortest decimal whose float is the file's number. May be zero or less.
    price: Decimal
    #: Digits; None if the customer did not sign in.
    customer: str | None
    country: str | None


def read_lines(path: Path, report: Report) -> Iterator[Line]:
    """
    Read the lines of the file, in its order.

    Args:
        path: A parquet file with the columns Invoice, StockCode, Description, Quantity, InvoiceDate, Price,
            Customer ID and Country.
        report: Receives a sentence now and then.

    Raises:
        OSError: the file does not exist.
        DatasetRefusedError: it is of another kind, or a line lacks what an order needs. A line is never left out
            instead.

    """
    # Imported here: it costs half a second and a hundred megabytes, which generated data does not need.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise DatasetRefusedError(f"{path} is not a parquet file: {error}") from error
    with file:
        missing = [name for name in _COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise DatasetRefusedError(f"{path} has no column {missing[0]!r}; expected {', '.join(_COLUMNS)}.")
        count, total = 0, file.metadata.num_rows
        for batch in file.iter_batches(batch_size=65_536, columns=list(_COLUMNS)):
            for row in zip(*(_values(batch, name) for name in _COLUMNS), strict=True):
                count += 1
                yield _line(count, row)
            report(f"read {count:,} of {total:,} lines")


def _values(batch: Any, name: str) -> list[Any]:
    column = batch.column(name)
    return list((column if name in _NUMBERS else column.cast("string")).to_pylist())


def _line(number: int, row: tuple[Any, ...]) -> Line:
    for (name, may_be_empty), value in zip(_COLUMNS.items(), row, strict=True):
        if value is None and not may_be_empty:
            raise DatasetRefusedError(f"Line {number} has no {name}, which an order line needs.")
    invoice, code, description, quantity, dated, price, customer, country = row
    if not math.isfinite(quantity) or quantity != int(quantity) or not math.isfinite(price):
        raise DatasetRefusedError(
            f"Line {number} has quantity {quantity} and price {price}; expected a whole number and a finite one."
        )
    return Line(
        _intern(invoice),
        _intern(code),
        _intern(description),
        int(quantity),
        _intern(dated),
        _exact(price),
        _digits(customer),
        _intern(country),
    )


def _intern(text: str | None) -> Any:
    """Intern the text: half a million lines have few distinct ones."""
    return None if text is None else sys.intern(text)


@lru_cache(maxsize=_CACHE_SIZE)
def _exact(price: float) -> Decimal:
    return Decimal(str(price)).normalize()


@lru_cache(maxsize=_CACHE_SIZE)
def _digits(customer: float | str | None) -> str | None:
    """Write the number as people do; a column with gaps comes as floats, 13085.0."""
    if customer is None or customer != customer:  # noqa: PLR0124 - NaN is how some writers say null
        return None
    return str(int(customer)) if isinstance(customer, float) and customer.is_integer() else str(customer)
