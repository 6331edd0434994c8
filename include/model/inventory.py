"""Stock, as the hub keeps it."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class StockLevel(NamedTuple):
    """One stock keeping unit in one warehouse. The order of the fields is the order of the table's columns."""

    #: The platform's own id of the entry; opaque.
    id: str
    #: Counted up by the platform at each change; a lower one never overwrites a higher one.
    version: int
    sku: str
    #: The supply channel (warehouse) it lies in; None where the platform keeps one stock for all.
    supply_channel: str | None
    #: Units on the shelf. May be 0, never negative.
    quantity_on_stock: int
    #: Units that can still be promised: on the shelf less what is reserved.
    available_quantity: int
    #: Days until it can be had again; None when unknown.
    restockable_in_days: int | None
    #: When the next delivery is due; None when unknown.
    expected_delivery_at: datetime | None
    created_at: datetime
    last_modified_at: datetime
    #: What cleansing changed, JSON: field → what it was and which steps changed it. None when nothing was.
    lineage: str | None = None
