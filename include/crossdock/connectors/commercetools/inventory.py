"""Inventory entries of the platform as stock levels of the hub. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from crossdock.commerce.inventory.schema import StockLevels
from crossdock.connectors.commercetools.records import InventoryEntry
from crossdock.sync.lineage import NORMAL_FORM, TRIM, cleansed_column


def to_stock_levels(entries: Sequence[InventoryEntry]) -> StockLevels:
    """*entries* field by field. Blanks around a sku are typing slips; a missing sku is empty, which the gate refuses."""
    sku, lineage = cleansed_column("sku", [entry.sku or "" for entry in entries], TRIM, NORMAL_FORM)
    return StockLevels(
        id=[entry.id for entry in entries],
        version=[entry.version for entry in entries],
        sku=sku,
        supply_channel=[entry.supply_channel.id if entry.supply_channel else None for entry in entries],
        quantity_on_stock=[entry.quantity_on_stock for entry in entries],
        available_quantity=[entry.available_quantity for entry in entries],
        restockable_in_days=[entry.restockable_in_days for entry in entries],
        expected_delivery_at=[entry.expected_delivery for entry in entries],
        created_at=[entry.created_at for entry in entries],
        last_modified_at=[entry.last_modified_at for entry in entries],
        lineage=lineage,
    )
