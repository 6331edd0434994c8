"""Stock per sku and warehouse, from the commerce platform into the hub."""

from include.connectors.commercetools.records import InventoryEntry
from include.flows.sync import Sync
from include.flows.sync.contract import read_contract
from include.flows.sync_inventory.expectations import EXPECTATIONS
from include.flows.sync_inventory.mapping import to_stock_levels
from include.store.tables import INVENTORY as INVENTORY_TABLE

INVENTORY = Sync(
    entity="inventory",
    integration="commercetools",
    resource="inventory",
    key_field="sku",
    table=INVENTORY_TABLE,
    record_type=InventoryEntry,
    to_columns=to_stock_levels,
    expectations=EXPECTATIONS,
    contract=read_contract(__file__),
    batch_records=20_000,
)
