"""The registry of syncs, by entity. To add one: a module in its connector, one line below, one DAG file."""

from crossdock.connectors.commercetools.inventory import INVENTORY
from crossdock.connectors.commercetools.orders import ORDER
from crossdock.connectors.commercetools.products import PRODUCT
from crossdock.connectors.declarative.streams import declared_syncs
from crossdock.core.errors import BadRequest
from crossdock.sync import Sync

__all__ = ["INVENTORY", "ORDER", "PRODUCT", "SYNCS", "declared_syncs", "sync_of"]

SYNCS = {sync.entity: sync for sync in (INVENTORY, PRODUCT, ORDER)}


def sync_of(entity: str) -> Sync:
    """
    Find the sync of *entity*; declared ones are included.

    Raises:
        BadRequest: it does not exist; the message lists the existing ones.

    """
    if entity in SYNCS:
        return SYNCS[entity]
    declared = {sync.entity: sync for _, sync in declared_syncs()}
    if entity not in declared:
        raise BadRequest(f"Unknown entity {entity!r}. Use one of: {', '.join([*SYNCS, *declared])}")
    return declared[entity]
