"""What happens to stock and is not a change of one stock level."""

from __future__ import annotations

import msgspec

from crossdock.events.event_type import EventType


class StockRanOut(msgspec.Struct, frozen=True, kw_only=True):
    """A SKU ran out of stock in a warehouse, as its platform saw it; it may have stock again by now."""

    sku: str
    #: The supply channel (warehouse); None where the source has one stock for all channels.
    supply_channel: str | None = None


STOCK_RAN_OUT = EventType("crossdock.stock.ran_out", StockRanOut, key="sku")
