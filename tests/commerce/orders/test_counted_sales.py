"""A sale is subtracted from what the platform says until the platform has subtracted it itself: never twice, never not at all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from crossdock.commerce.inventory import reservation_repository
from crossdock.commerce.inventory.repository import StockState
from crossdock.commerce.inventory.reservation_repository import Figures
from crossdock.commerce.orders import service
from crossdock.commerce.orders.placement import Line, OrderState
from crossdock.commerce.orders.steps import OrderStepName
from crossdock.db.database import Store
from tests.commerce.orders.platform import SHOP, PlatformHub, open_platform


@pytest.fixture
def hub(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlatformHub]:
    with open_platform(store, monkeypatch) as opened:
        yield opened


class Entry:
    """A stock entry of the shop, and what the hub makes of it."""

    def __init__(self, hub: PlatformHub) -> None:
        rows = (row.document for row in hub.shop.state.collection("inventory").rows())
        found = next(row for row in rows if "supplyChannel" in row)
        self.hub, self.id, self.sku = hub, found["id"], found["sku"]
        self.channel = found["supplyChannel"]["id"]
        self.set(10)

    @property
    def now(self) -> dict[str, Any]:
        return self.hub.shop.state.get("inventory", self.id).document

    def set(self, units: int) -> None:
        fields = {"quantityOnStock": units, "availableQuantity": units}
        self.hub.shop.state.change("inventory", self.id, lambda entry: entry.update(fields))

    def sync(self) -> None:
        """Have the hub hear of the entry as it is now."""
        now = self.now
        state = StockState(
            f"/integrations/{SHOP}",
            self.id,
            self.sku,
            self.channel,
            now["availableQuantity"],
            now["version"],
            datetime.fromisoformat(now["lastModifiedAt"]),
            datetime.fromisoformat(now["createdAt"]),
        )
        with self.hub.orders.store.transaction() as work:
            reservation_repository.set_on_hand(work, [state])

    def figures(self) -> Figures:
        (found,) = self.hub.orders.figures(self.sku)
        return found

    def order_here(self, mode: str, *, channel: bool = True) -> None:
        """Have the shop's order be of two of these, placed there in *mode*: but for None, the shop subtracts them itself."""
        line = {**self.hub.row["lineItems"][0], "quantity": 2, "inventoryMode": mode}
        line["variant"] = {**line["variant"], "sku": self.sku}
        line.pop("supplyChannel", None)
        if channel:
            line["supplyChannel"] = {"typeId": "channel", "id": self.channel}
        self.hub.edit(lineItems=[line])
        if mode != "None" and channel:
            self.set(self.now["availableQuantity"] - 2)

    @property
    def lines(self) -> list[Line]:
        return [Line(sku=self.sku, quantity=2, price_minor=1_000)]


@pytest.mark.parametrize("synced", [True, False], ids=["heard of before", "not heard of before"])
def test_a_sale_that_the_platform_subtracts_itself_is_subtracted_once_when_the_order_is_written_back(
    hub: PlatformHub, *, synced: bool
) -> None:
    entry = Entry(hub)
    entry.sync()
    entry.order_here("TrackOnly")
    if synced:
        entry.sync()
    placed = hub.place(lines=entry.lines)
    hub.orders.advance(placed, before=OrderStepName.WRITE_BACK)
    assert (entry.figures().available, entry.figures().sold) == ((6 if synced else 8), 2)

    assert hub.orders.go_on(placed).state is OrderState.CONFIRMED
    assert (entry.figures().on_hand, entry.figures().available, entry.figures().sold) == (8, 8, 0)


@pytest.mark.parametrize("channel", [True, False], ids=["in no mode", "from elsewhere"])
def test_a_sale_that_the_platform_did_not_subtract_there_stays_subtracted(hub: PlatformHub, *, channel: bool) -> None:
    entry = Entry(hub)
    entry.sync()
    entry.order_here("None" if channel else "TrackOnly", channel=channel)
    hub.orders.go_on(hub.place(lines=entry.lines))

    assert (entry.figures().on_hand, entry.figures().available, entry.figures().sold) == (10, 8, 2)


def test_a_stock_level_that_was_removed_leaves_the_sale_subtracted(hub: PlatformHub) -> None:
    entry = Entry(hub)
    entry.sync()
    entry.order_here("TrackOnly")
    hub.shop.state.delete("inventory", entry.id, entry.now["version"])
    hub.orders.go_on(hub.place(lines=entry.lines))

    assert (entry.figures().on_hand, entry.figures().available, entry.figures().sold) == (10, 8, 2)


def test_a_cancelled_order_gives_nothing_back_here_that_the_platform_has_yet_to_give_back(hub: PlatformHub) -> None:
    """Its figure does not have the units; it rises when the shop takes them back."""
    entry = Entry(hub)
    entry.sync()
    entry.order_here("TrackOnly")
    placed = hub.place(lines=entry.lines)
    hub.orders.go_on(placed)
    service.cancel(hub.orders.store, placed.order_id, reason="r", actor="otto")
    hub.orders.go_on(placed)
    assert (entry.figures().available, entry.figures().sold) == (8, 0)

    entry.set(10)
    entry.sync()
    assert (entry.figures().available, entry.figures().sold) == (10, 0)
