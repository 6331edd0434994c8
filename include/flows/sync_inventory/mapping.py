"""An inventory entry of the platform as a stock level of the hub. Pure."""

from __future__ import annotations

from include.connectors.commercetools.records import InventoryEntry
from include.model.inventory import StockLevel


def to_stock_level(entry: InventoryEntry) -> StockLevel:
    """*entry* field by field; blanks around a sku are the platform's users' and mean nothing; a missing one is empty."""
    return StockLevel(
        id=entry.id,
        version=entry.version,
        sku=(entry.sku or "").strip(),
        supply_channel=entry.supply_channel.id if entry.supply_channel else None,
        quantity_on_stock=entry.quantity_on_stock,
        available_quantity=entry.available_quantity,
        restockable_in_days=entry.restockable_in_days,
        expected_delivery_at=entry.expected_delivery,
        created_at=entry.created_at,
        last_modified_at=entry.last_modified_at,
    )
