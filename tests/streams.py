"""The streams of the sandbox's shop, as the integration `commercetools` has them."""

from __future__ import annotations

from pathlib import Path

from crossdock.app import definitions
from crossdock.app.definitions import Definition
from crossdock.connectors.commercetools import KIND, inventory, orders, prices, products
from crossdock.core.errors import BadRequest
from crossdock.sync import Stream

INVENTORY = inventory.INVENTORY.of(KIND)
PRODUCTS = products.PRODUCTS.of(KIND)
PRICES = prices.PRICES.of(KIND)
ORDERS = orders.ORDERS.of(KIND)

#: By ID.
STREAMS = {stream.id: stream for stream in (INVENTORY, PRODUCTS, PRICES, ORDERS)}


def stream_of(stream_id: str) -> Stream:
    """Find a stream, as `app.streams` does in a hub."""
    if stream_id not in STREAMS:
        raise BadRequest(f"Unknown stream {stream_id!r}")
    return STREAMS[stream_id]


def define_shop(folder: Path) -> str:
    """Write the definitions of a hub with the one integration into *folder*; return the folder's URL."""
    url = f"file://{folder}"
    definitions.write_snapshots([Definition(integration=KIND, kind=KIND, title="commercetools")], url=url)
    return url
