"""Stock per SKU and warehouse: commercetools' inventory entries as stock levels."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from crossdock.commerce.inventory.expectations import EXPECTATIONS
from crossdock.commerce.inventory.schema import StockLevel
from crossdock.commerce.skus import SKU
from crossdock.connectors.commercetools.field_types import Instant, Int64, Reference, unless_forever
from crossdock.sync import Stream
from crossdock.sync.contract import read_contract
from crossdock.sync.dataset import Columns
from crossdock.sync.lineage import cleansed_column


class InventoryEntry(msgspec.Struct, frozen=True, rename="camel", gc=False):
    id: str
    version: Int64
    quantity_on_stock: Int64
    available_quantity: Int64
    created_at: Instant
    last_modified_at: Instant
    sku: str | None = None
    supply_channel: Reference | None = None
    restockable_in_days: Int64 | None = None
    expected_delivery: Instant | None = None


def to_stock_levels(entries: Sequence[InventoryEntry]) -> Columns:
    """Map *entries* to columns. Trims SKUs; a missing SKU becomes empty, which validation rejects."""
    sku, lineage = cleansed_column("sku", [entry.sku or "" for entry in entries], *SKU)
    return StockLevel.columns(
        id=[entry.id for entry in entries],
        version=[entry.version for entry in entries],
        sku=sku,
        supply_channel=[entry.supply_channel.id if entry.supply_channel else None for entry in entries],
        quantity_on_stock=[entry.quantity_on_stock for entry in entries],
        available_quantity=[entry.available_quantity for entry in entries],
        restockable_in_days=[entry.restockable_in_days for entry in entries],
        expected_delivery_at=[unless_forever(entry.expected_delivery) for entry in entries],
        created_at=[entry.created_at for entry in entries],
        last_modified_at=[entry.last_modified_at for entry in entries],
        lineage=lineage,
    )


INVENTORY = Stream(
    dataset=StockLevel.schema,
    resource="inventory",
    key_field="sku",
    record_type=InventoryEntry,
    to_columns=to_stock_levels,
    expectations=EXPECTATIONS,
    contract=read_contract(__file__, "inventory.schema.json"),
    batch_records=20_000,
    schedule="*/15 * * * *",
)
