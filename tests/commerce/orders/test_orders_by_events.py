"""Orders that go on by events alone, with the delivery as it runs in production."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from crossdock.app.delivery import DueOrders
from crossdock.app.orders import Calls, OrderDriver
from crossdock.commerce.orders.placement import OrderState
from crossdock.commerce.orders.steps import EVENT_TYPES
from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.store import Selection
from crossdock.events.subscriber import Subscriber
from tests.commerce.orders.placing import OrderHub, open_hub
from tests.events.worlds import delivery


@pytest.fixture
def hub(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[OrderHub]:
    with open_hub(store, monkeypatch) as opened:
        opened.stock("mug", 10)
        yield opened


def test_each_step_begins_by_the_event_of_the_one_before(hub: OrderHub, hub_dsn: str) -> None:
    driver = OrderDriver(lambda: Calls(Store(hub_dsn), hub.gateways.open_client))  # type: ignore[arg-type]
    subscriber = Subscriber(types=EVENT_TYPES, deliver=driver.deliver)
    placed = hub.place()
    with delivery(hub_dsn, {"orders": subscriber}):
        until = time.monotonic() + 120
        while hub.order(placed).state is not OrderState.CONFIRMED:
            assert time.monotonic() < until
            time.sleep(0.05)
    driver.close()
    with hub.store.transaction() as work:
        events = event_store.select(work, Selection(key=placed.order_id), limit=50)

    assert [event.type.removeprefix("crossdock.order.") for event in events[:7]] == [
        "created",
        "customer_checked",
        "inventory_reserved",
        "payment_authorised",
        "shipment_scheduled",
        "progressed",
        "payment_captured",
    ]
    assert (hub.charged_minor(), hub.blocked()) == (2_500, 0)


def test_what_no_event_wakes_is_taken_up_at_its_time(hub: OrderHub, hub_dsn: str) -> None:
    """An order whose worker was killed, or that waits for its next try."""
    driver = OrderDriver(lambda: Calls(Store(hub_dsn), hub.gateways.open_client))  # type: ignore[arg-type]
    placed = hub.place()
    with hub.store.transaction() as work:
        work.execute("UPDATE execution SET next_at = now()")
    looks = iter(range(200))
    DueOrders(driver, lambda: hub.order(placed).state is OrderState.CONFIRMED or next(looks) > 100).run()
    driver.close()

    assert hub.order(placed).state is OrderState.CONFIRMED
