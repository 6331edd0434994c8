"""A real shop to serve in place of generated data, from a file with the lines of its invoices."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crossdock.sandbox.commercetools.collection import Json, Row, row_of
from crossdock.sandbox.commercetools.data import from_invoices
from crossdock.sandbox.commercetools.data.invoice_lines import read_lines
from crossdock.sandbox.commercetools.entities import CUSTOMERS, ENTITIES, INVENTORY, ORDERS, PRODUCTS
from crossdock.sandbox.engine.system import Report


@dataclass(frozen=True)
class Dataset:
    """The rows made from a file. Rows are immutable, so that any number of states can start with them."""

    #: The name of the file.
    name: str
    rows: dict[str, list[Row]]

    @classmethod
    def read(cls, path: Path, report: Report = lambda _sentence: None) -> "Dataset":
        """
        Read the file at *path* by the rules in `data/from_invoices.py`.

        Takes seconds for every hundred thousand lines.

        Args:
            path: See `data/invoice_lines.py` for its columns.
            report: Receives a sentence now and then.

        Raises:
            OSError: the file does not exist.
            DatasetRefusedError: it cannot be served whole.

        """
        invoices, codes, customers = from_invoices.group(read_lines(path, report))
        last = from_invoices.last_instant(invoices)
        documents: dict[str, Iterable[Json]] = {
            INVENTORY.name: (from_invoices.stock(code, lines, last) for code, lines in codes.items()),
            PRODUCTS.name: (from_invoices.product(code, lines) for code, lines in codes.items()),
            ORDERS.name: (from_invoices.order(invoice, lines) for invoice, lines in invoices.items()),
            CUSTOMERS.name: (from_invoices.customer(number, lines) for number, lines in customers.items()),
        }
        rows: dict[str, list[Row]] = {}
        for name, made in documents.items():
            rows[name] = [row_of(document, ENTITIES[name].lookups) for document in made]
            report(f"made {len(rows[name]):,} {name}")
        return cls(path.name, rows)
