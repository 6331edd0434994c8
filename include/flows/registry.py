"""Every sync there is, by entity. Adding one: its folder here, one line below, one DAG file."""

from include.flows.sync_inventory import INVENTORY
from include.flows.sync_order import ORDER
from include.flows.sync_product import PRODUCT

SYNCS = {sync.entity: sync for sync in (INVENTORY, PRODUCT, ORDER)}
