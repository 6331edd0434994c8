"""The lines of a real shop's invoices, read from a parquet file: every one, as it is written there."""

import math
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

#: What the file's columns are called, in the order of `Line`'s fields, and whether one may be empty.
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
#: More than there are different prices or customers in a year of half a million lines.
_DIFFERENT = 100_000

Say = Callable[[str], None]


class DatasetRefusedError(ValueError):
    """The file cannot be served whole; the message names the column or the line."""


class Line(NamedTuple):
    """One line of one invoice. Equal lines are two lines all the same."""

    invoice: str
    #: As it is: blanks, letter case and codes that are no goods included.
    code: str
    description: str | None
    #: May be zero or less.
    quantity: int
    #: `2009-12-01 07:45:00`, the shop's wall clock.
    dated: str
    #: GBP, exact: the shortest decimal that the file's number is the float of. May be zero or less.
    price: Decimal
    #: Digits; None where nobody signed in.
    customer: str | None
    country: str | None


def lines(path: Path, say: Say) -> Iterator[Line]:
    """
    The file's lines, in its order.

    Args:
        path: A parquet file with the columns Invoice, StockCode, Description, Quantity, InvoiceDate, Price,
            Customer ID and Country.
        say: Gets a sentence now and then.

    Raises:
        OSError: there is no such file.
        DatasetRefusedError: it is none of that kind, or a line lacks what an order cannot be made without. A line
            is never left out instead.

    """
    # Half a second and a hundred megabytes, which a generated shop does not need.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise DatasetRefusedError(f"{path} is no parquet file: {error}") from error
    with file:
        missing = [name for name in _COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise DatasetRefusedError(f"{path} has no column {missing[0]!r}; expected {', '.join(_COLUMNS)}.")
        count, total = 0, file.metadata.num_rows
        for batch in file.iter_batches(batch_size=65_536, columns=list(_COLUMNS)):
            for row in zip(*(_values(batch, name) for name in _COLUMNS), strict=True):
                count += 1
                yield _line(count, row)
            say(f"read {count:,} of {total:,} lines")


def _values(batch: Any, name: str) -> list[Any]:
    column = batch.column(name)
    return list((column if name in _NUMBERS else column.cast("string")).to_pylist())


def _line(number: int, row: tuple[Any, ...]) -> Line:
    for (name, may_be_empty), value in zip(_COLUMNS.items(), row, strict=True):
        if value is None and not may_be_empty:
            raise DatasetRefusedError(f"Line {number} has no {name}; an order line cannot be without.")
    invoice, code, description, quantity, dated, price, customer, country = row
    if not math.isfinite(quantity) or quantity != int(quantity) or not math.isfinite(price):
        raise DatasetRefusedError(
            f"Line {number} has quantity {quantity} and price {price}; expected a whole number and a finite one."
        )
    return Line(
        _one(invoice), _one(code), _one(description), int(quantity), _one(dated), _exact(price), _digits(customer), _one(country)
    )  # fmt: skip


def _one(text: str | None) -> Any:
    """The same text as one object: half a million lines have few different ones."""
    return None if text is None else sys.intern(text)


@lru_cache(maxsize=_DIFFERENT)
def _exact(price: float) -> Decimal:
    return Decimal(str(price)).normalize()


@lru_cache(maxsize=_DIFFERENT)
def _digits(customer: float | str | None) -> str | None:
    """The number as people write it; a column with gaps comes as floats, 13085.0."""
    if customer is None or customer != customer:  # noqa: PLR0124 - NaN is how some writers say null
        return None
    return str(int(customer)) if isinstance(customer, float) and customer.is_integer() else str(customer)
