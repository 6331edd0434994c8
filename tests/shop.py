"""How tests reach the sandbox, and what they compare the hub with."""

from __future__ import annotations

import socket
from typing import Any

from crossdock.connectors.commercetools import Commercetools
from crossdock.connectors.commercetools.client import Api
from crossdock.db.database import Store
from crossdock.http.client import Limits
from crossdock.sandbox.commercetools.retailer import FakeRetailer

#: Short waits between tries. A try itself may take long: a test of a time-out has limits of its own.
QUICK = Limits(timeout_s=60.0, connect_timeout_s=30.0, attempts=3, longest_wait_s=0.2)


def connect(
    shop: FakeRetailer, *, limits: Limits = QUICK, page_records: int = 100, api: Api = Api.REST
) -> Commercetools:
    """The connector, signed in to *shop* over a real socket."""
    return Commercetools.signed_in(
        shop.url,
        shop.project,
        client_id=shop.client_id,
        secret=shop.client_secret,
        scope=f"view_products:{shop.project} view_orders:{shop.project}",
        limits=limits,
        page_records=page_records,
        api=api,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def in_shop(shop: FakeRetailer) -> dict[str, tuple[int, int]]:
    """Id → (version, quantity) as the retailer has it."""
    rows = (row.document for row in shop.state.collection("inventory").rows())
    return {row["id"]: (row["version"], row["quantityOnStock"]) for row in rows}


def in_hub(store: Store) -> dict[str, tuple[int, int]]:
    """The same as the hub has it."""
    return {
        record_id: (version, quantity)
        for record_id, version, quantity in query(store, "SELECT id, version, quantity_on_stock FROM inventory")
    }


def query(store: Store, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with store.transaction() as work:
        return work.execute(statement.encode(), values).fetchall()
