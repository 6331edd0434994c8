"""An inventory entry of the platform as a stock level of the hub. Pure."""

from __future__ import annotations

from include.connectors.commercetools.records import InventoryEntry
from include.flows.sync.lineage import NORMAL_FORM, TRIM, Lineage
from include.model.inventory import StockLevel


def to_stock_level(entry: InventoryEntry) -> StockLevel:
    """*entry* field by field. Blanks around a sku are typing slips; a missing sku is empty, which the gate refuses."""
    lineage = Lineage()
    return StockLevel(
        id=entry.id,
        version=entry.version,
        sku=lineage.cleansed("sku", entry.sku or "", TRIM, NORMAL_FORM),
        supply_channel=entry.supply_channel.id if entry.supply_channel else None,
        quantity_on_stock=entry.quantity_on_stock,
        available_quantity=entry.available_quantity,
        restockable_in_days=entry.restockable_in_days,
        expected_delivery_at=entry.expected_delivery,
        created_at=entry.created_at,
        last_modified_at=entry.last_modified_at,
        lineage=lineage.document(),
    )
