"""The dataset of stock levels."""

from __future__ import annotations

from datetime import datetime

from crossdock.sync.dataset import Cleansed, Dataset, Version


class StockLevel(Dataset, name="inventory", event="crossdock.stock.changed", key="sku"):
    """A stock level: the units of one SKU in one warehouse."""

    #: The source's id of the entry; opaque.
    id: str
    #: Incremented by the source at each change; a lower version never overwrites a higher one.
    version: Version
    sku: str
    #: The supply channel (warehouse); None where the source has one stock for all channels.
    supply_channel: str | None
    #: Physical units; below zero as far as more was sold than there was (backorder).
    quantity_on_stock: int
    #: Units that can still be sold: physical units minus reservations.
    available_quantity: int
    #: Days until new stock arrives; None when unknown.
    restockable_in_days: int | None
    #: When the next delivery is due; None when unknown.
    expected_delivery_at: datetime | None
    created_at: datetime
    last_modified_at: datetime
    lineage: Cleansed | None
