"""Every sync there is, by entity. Adding one: its folder here, one line below, one DAG file."""

from include.flows.sync_inventory import INVENTORY

SYNCS = {sync.entity: sync for sync in (INVENTORY,)}
