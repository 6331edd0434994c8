"""A stock entry that the platform removes and makes anew, from the sync to the stock that the hub sells from."""

from __future__ import annotations

from crossdock.commerce.inventory import subscribers
from crossdock.events import store as event_store
from crossdock.events.model import STOCK_CHANGED
from crossdock.events.store import Selection
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sync import Systems
from crossdock.sync.model import SyncRequest
from tests.shop import query
from tests.sync.test_inventory import run


def apply_all(systems: Systems) -> None:
    """Apply all events of stock again, in their order."""
    with systems.store.transaction() as work:
        subscribers.apply_to_stock(work, event_store.select(work, Selection(types=(STOCK_CHANGED,)), limit=100))


def test_an_entry_that_is_made_anew_is_sold_from_although_it_begins_at_version_1(
    shop: FakeRetailer, systems: Systems
) -> None:
    inventory = shop.state.collection("inventory")
    first = next(iter(inventory.rows())).document
    for units in (3, 4):
        shop.state.change("inventory", first["id"], lambda entry, units=units: entry.update(availableQuantity=units))
    run(systems, SyncRequest(keys=(first["sku"],)))
    apply_all(systems)
    now = shop.state.get("inventory", first["id"]).document
    shop.state.delete("inventory", first["id"], now["version"])
    own = ("id", "version", "createdAt", "lastModifiedAt")
    shared = {name: value for name, value in now.items() if name not in own}
    anew = shop.state.create("inventory", {**shared, "quantityOnStock": 77, "availableQuantity": 77}).document
    run(systems, SyncRequest(keys=(first["sku"],)))
    apply_all(systems)

    assert (now["version"], anew["version"]) > (1, 1)
    channel = first.get("supplyChannel", {}).get("id")
    warehouse = "/integrations/commercetools" + (f":{channel}" if channel else "")
    found = query(
        systems.store,
        "SELECT available, version, entry_id FROM stock WHERE sku = %s AND warehouse_id = %s",
        first["sku"],
        warehouse,
    )
    assert found == [(77, 1, anew["id"])]
