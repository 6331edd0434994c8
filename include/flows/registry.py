"""Every sync there is, by entity. Adding one: its folder here, one line below, one DAG file."""

from include.flows.declared import declared_syncs
from include.flows.sync import Sync
from include.flows.sync_inventory import INVENTORY
from include.flows.sync_order import ORDER
from include.flows.sync_product import PRODUCT
from include.model.errors import BadRequest

SYNCS = {sync.entity: sync for sync in (INVENTORY, PRODUCT, ORDER)}


def sync_of(entity: str) -> Sync:
    """
    The sync of *entity*, declared ones included.

    Raises:
        BadRequest: there is none; the message names those there are.

    """
    if entity in SYNCS:
        return SYNCS[entity]
    declared = {sync.entity: sync for _, sync in declared_syncs()}
    if entity not in declared:
        raise BadRequest(f"There is no sync of {entity!r}. There are: {', '.join([*SYNCS, *declared])}")
    return declared[entity]
