"""Lines of a real shop's invoices with every flaw that such files have, and a file with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

COLUMNS = ("Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country")

Line = tuple[str, str, str | None, int, str, float, float | None, str | None]
#: Invoice, code, quantity, exact price: these must be the same in the file and in the orders.
Sold = tuple[str, str, int, Fraction]

UK = "United Kingdom"

LINES: list[Line] = [
    ("489434", "85123A", "WHITE HANGING HEART T-LIGHT HOLDER", 6, "2010-01-04 10:24:00", 2.55, 13085.0, UK),
    ("489434", "85123a", "WHITE HANGING HEART", 2, "2010-01-04 10:24:00", 2.55, 13085.0, UK),
    # Two lines that are equal in everything, and two invoices in one minute.
    ("489434", "POST", "POSTAGE", 1, "2010-01-04 10:24:00", 18.0, 13085.0, UK),
    ("489434", "POST", "POSTAGE", 1, "2010-01-04 10:24:00", 18.0, 13085.0, UK),
    ("489435", "47503J ", "SET/3 FLORAL GARDEN TOOLS IN BAG", 3, "2010-01-04 10:24:00", 4.25, 12680.0, "EIRE"),
    ("489435", "85123A", "CREAM HANGING HEART T-LIGHT HOLDER", 4, "2010-01-04 10:24:00", 2.95, 12680.0, "EIRE"),
    # A further line of an invoice that began above, a minute later.
    ("489434", "85123A", "WHITE HANGING HEART T-LIGHT HOLDER", 1, "2010-01-04 10:25:00", 5.06, 13085.0, UK),
    ("C489449", "85123A", "WHITE HANGING HEART T-LIGHT HOLDER", -6, "2010-01-05 09:00:00", 2.55, 13085.0, UK),
    ("489464", "21733", "85123a mixed", -96, "2010-01-05 11:00:00", 0.0, None, UK),
    ("489464", "21733", None, 0, "2010-01-05 11:00:00", 0.0, None, UK),
    ("A506401", "B", "Adjust bad debt", 1, "2010-06-29 13:36:00", -53594.36, None, UK),
    ("494914", "PADS", "PADS TO MATCH ALL CUSHIONS", 7, "2010-07-01 17:04:00", 0.001, 16705.0, "Unspecified"),
    ("494914", "BANK CHARGES", "   ", 1, "2010-07-01 17:04:00", 0.29, 16705.0, "Unspecified"),
    ("494915", "", "", 1, "2010-10-31 01:30:00", 1.15, 16705.0, "Germany"),
    ("494916", "22423", "REGENCY CAKESTAND £3 TIER", 40, "2010-11-20 12:00:00", 12.75, 12680.0, None),
    ("494917", "22423", "REGENCY CAKESTAND 3 TIER", 5, "2010-12-09 20:01:00", 12.75, None, "Channel Islands"),
]


def write(path: Path, lines: Sequence[Line] = LINES, **columns: Any) -> Path:
    """Write *lines* to a file; *columns* replace whole columns, and None leaves one out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = dict(zip(COLUMNS, (list(column) for column in zip(*lines, strict=True)), strict=True)) | columns
    pq.write_table(pa.table({name: values for name, values in made.items() if values is not None}), path)
    return path


def in_file(lines: Sequence[Line]) -> Counter[Sold]:
    return Counter((line[0], line[1], line[3], exact(line[5])) for line in lines)


def exact(price: float) -> Fraction:
    return Fraction(str(price))


def in_orders(orders: Sequence[Any]) -> Counter[Sold]:
    """Count the sold lines in the retailer's orders."""
    return Counter(
        (order["orderNumber"], item["variant"]["sku"], item["quantity"], amount(item["price"]["value"]))
        for order in orders
        for item in order["lineItems"]
    )


def amount(money: Any) -> Fraction:
    """Read the exact amount of the vendor's money."""
    minor = money["preciseAmount"] if money["type"] == "highPrecision" else money["centAmount"]
    return Fraction(minor, 10 ** money["fractionDigits"])
