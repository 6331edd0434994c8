"""Orders that go on by events alone, with the delivery as it runs in production."""

from __future__ import annotations

import threading
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


def test_an_order_goes_on_by_events_and_each_step_leaves_its_own(hub: OrderHub, hub_dsn: str) -> None:
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


def test_a_gateway_that_hangs_does_not_hold_up_the_delivery(hub: OrderHub, hub_dsn: str) -> None:
    """Its orders are due later; the delivery would take the subscriber for one that hangs, and blame the events."""
    answers = threading.Event()

    def hangs() -> Calls:
        answers.wait()
        return Calls(Store(hub_dsn), hub.gateways.open_client)  # type: ignore[arg-type]

    placed = [hub.place(f"w-{number}") for number in range(3)]
    driver = OrderDriver(hangs, threads=1, patience_s=0.1)
    with hub.store.transaction() as work:
        events = event_store.select(work, Selection(types=EVENT_TYPES), limit=50)
    delivered = threading.Thread(target=driver.deliver, args=(events,), daemon=True)
    delivered.start()
    delivered.join(60)
    is_held_up = delivered.is_alive()
    answers.set()
    driver.close()

    assert not is_held_up
    # The one whose step was begun may have gone on since.
    assert all(hub.execution(order).next_at or hub.order(order).state is OrderState.CONFIRMED for order in placed)
    assert sum(hub.order(order).state is OrderState.OPEN for order in placed) >= 2
