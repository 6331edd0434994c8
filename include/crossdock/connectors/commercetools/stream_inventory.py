"""Stock per sku and warehouse, from the commerce platform into the hub."""

from crossdock.commerce.inventory.expectations import EXPECTATIONS
from crossdock.commerce.inventory.schema import INVENTORY_TABLE
from crossdock.connectors.commercetools.inventory import to_stock_levels
from crossdock.connectors.commercetools.records import InventoryEntry
from crossdock.sync import Sync
from crossdock.sync.contract import read_contract

INVENTORY = Sync(
    entity="inventory",
    integration="commercetools",
    resource="inventory",
    key_field="sku",
    table=INVENTORY_TABLE,
    record_type=InventoryEntry,
    to_columns=to_stock_levels,
    expectations=EXPECTATIONS,
    contract=read_contract(__file__, "inventory.schema.json"),
    batch_records=20_000,
)
