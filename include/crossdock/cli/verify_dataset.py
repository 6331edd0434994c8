"""./hub verify-dataset FILE: compare the hub's tables with the file that the sandbox was made from."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from crossdock.cli import console
from crossdock.cli.exit_codes import Exit
from crossdock.cli.options import Json
from crossdock.cli.session import local_store
from crossdock.connectors.commercetools import KIND
from crossdock.connectors.commercetools.orders import ORDERS
from crossdock.core.errors import BadRequest
from crossdock.db.database import Store
from crossdock.sync import records
from crossdock.sync.quarantine import repository as quarantine_repository

#: The sandbox makes them from the file.
_ORDERS = ORDERS.of(KIND)
#: A line of the file: invoice, code, quantity, price.
Line = tuple[str, str, int, Decimal]


def verify_dataset(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The parquet file.")],
    as_json: Json = False,
) -> None:
    """
    Verify that every line of FILE is in the hub or in quarantine, exactly as often as in the file.

    Example: ./hub verify-dataset online_retail.parquet
    """
    with console.progress("Comparing") as bar:
        bar.update("Reading the file")
        expected = _lines_of_file(file)
        bar.update("Reading the hub")
        with local_store() as store:
            loaded, kept = _lines_of_hub(store), _lines_of_quarantine(store)
    found = loaded + kept
    document: dict[str, Any] = {
        "lines_in_file": expected.total(),
        "lines_in_hub": loaded.total(),
        "lines_in_quarantine": kept.total(),
        "missing": (expected - found).total(),
        "surplus": (found - expected).total(),
        "equal": expected == found,
        "examples": [[*map(str, line)] for line in list((expected - found) + (found - expected))[:5]],
    }
    if as_json:
        console.show_json(document)
    else:
        console.show(
            f"{document['lines_in_hub']:,} lines in the hub + {document['lines_in_quarantine']:,} in quarantine"
            f" {'=' if document['equal'] else '≠'} {document['lines_in_file']:,} in the file"
        )
        for line in document["examples"]:
            console.error(f"Not in both: {line}")
        if document["surplus"] and not document["missing"]:
            console.say(
                "No line of the file is missing, but the hub also has orders of another shop. Use a separate hub."
            )
    if not document["equal"]:
        raise typer.Exit(Exit.FAILED)


def _lines_of_file(file: Path) -> Counter[Line]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_table(file, columns=["Invoice", "StockCode", "Quantity", "Price"]).to_pydict()
    except (pa.ArrowException, KeyError) as error:
        raise BadRequest(
            f"{file} is not a parquet file with the columns Invoice, StockCode, Quantity and Price: {error}"
        ) from error
    rows = zip(columns["Invoice"], columns["StockCode"], columns["Quantity"], columns["Price"], strict=True)
    # repr of a float is its shortest exact form: 2.55, not 2.54999.
    return Counter(
        (str(invoice), str(code), int(count), Decimal(repr(price)).normalize()) for invoice, code, count, price in rows
    )


def _lines_of_hub(store: Store) -> Counter[Line]:
    with store.transaction() as work:
        return Counter(
            (number, code, count, price.normalize())
            for number, code, count, price in records.order_lines(work, _ORDERS.integration)
        )


def _lines_of_quarantine(store: Store) -> Counter[Line]:
    """Count the lines of orders that are only in quarantine, as they came, not as edited."""
    with store.transaction() as work:
        raws = quarantine_repository.raws_of_absent(work, _ORDERS.dataset, _ORDERS.integration)
    return Counter(line for raw in raws for line in _lines_of_record(json.loads(raw)))


def _lines_of_record(record: dict[str, Any]) -> list[Line]:
    return [
        (record["orderNumber"], item["variant"]["sku"], item["quantity"], _price(item["price"]["value"]))
        for item in record["lineItems"]
    ]


def _price(money: dict[str, Any]) -> Decimal:
    amount = money.get("preciseAmount", money["centAmount"])
    return Decimal(amount).scaleb(-int(money["fractionDigits"])).normalize()
