"""A real shop to serve in place of the generated one, from a file with the lines of its invoices."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crossdock.sandbox.commercetools.collection import Json, Row, row_of
from crossdock.sandbox.commercetools.data import from_invoices as retail
from crossdock.sandbox.commercetools.data.invoice_lines import Say, lines
from crossdock.sandbox.commercetools.entities import CUSTOMERS, ENTITIES, INVENTORY, ORDERS, PRODUCTS


@dataclass(frozen=True)
class Dataset:
    """The shop as the file has it. Rows do not change, so any number of worlds can begin with them."""

    #: The file's name.
    name: str
    rows: dict[str, list[Row]]

    @classmethod
    def read(cls, path: Path, say: Say = lambda _sentence: None) -> "Dataset":
        """
        The shop in *path*; `data/retail.py` has the rules.

        Takes seconds for every hundred thousand lines.

        Args:
            path: See `data/ledger.py` for its columns.
            say: Gets a sentence now and then.

        Raises:
            OSError: there is no such file.
            DatasetRefusedError: it cannot be served whole.

        """
        invoices, codes, customers = retail.grouped(lines(path, say))
        last = retail.last_of(invoices)
        documents: dict[str, Iterable[Json]] = {
            INVENTORY.name: (retail.stock(code, group, last) for code, group in codes.items()),
            PRODUCTS.name: (retail.product(code, group) for code, group in codes.items()),
            ORDERS.name: (retail.order(invoice, group) for invoice, group in invoices.items()),
            CUSTOMERS.name: (retail.customer(number, group) for number, group in customers.items()),
        }
        rows: dict[str, list[Row]] = {}
        for name, made in documents.items():
            rows[name] = [row_of(document, ENTITIES[name].lookups) for document in made]
            say(f"made {len(rows[name]):,} {name}")
        return cls(path.name, rows)
