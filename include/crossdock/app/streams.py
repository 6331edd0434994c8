"""Every sync there is, by entity. Adding one: its folder here, one line below, one DAG file."""

from crossdock.connectors.commercetools.inventory import INVENTORY
from crossdock.connectors.commercetools.orders import ORDER
from crossdock.connectors.commercetools.products import PRODUCT
from crossdock.connectors.declarative.streams import declared_syncs
from crossdock.core.errors import BadRequest
from crossdock.sync import Sync

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
