"""Workers that are killed between any two steps of an order, in processes of their own, on a real database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crossdock.app.orders import Calls, order_flows
from crossdock.commerce.orders import service
from crossdock.commerce.orders.placement import Line, OrderState
from crossdock.commerce.orders.steps import OrderStepName
from crossdock.db.database import Store
from crossdock.workflows import service as engine
from tests.chaos import children
from tests.commerce.orders.placing import OrderHub, open_hub

pytestmark = pytest.mark.crash

OUTSIDE = (
    OrderStepName.CHECK_CUSTOMER,
    OrderStepName.AUTHORISE_PAYMENT,
    OrderStepName.CAPTURE_PAYMENT,
    OrderStepName.SEND_CONFIRMATION,
)
UNDONE = (OrderStepName.CAPTURE_PAYMENT, OrderStepName.AUTHORISE_PAYMENT)
PLACES = ("begun", "called")


@pytest.fixture
def hub(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[OrderHub]:
    with open_hub(store, monkeypatch) as opened:
        opened.stock("mug", 10)
        yield opened


def killed_at(hub: OrderHub, execution_id: str, crash_at: str) -> None:
    """Move the execution on in a child that is killed at the failpoint."""

    def work() -> None:
        with Store(hub.store.dsn) as own:
            flows = order_flows(lambda: Calls(own, hub.gateways.in_thread(own).open_client))  # type: ignore[arg-type]
            engine.advance(own, flows, execution_id)

    assert children.run(work, crash_at=crash_at) == children.KILLED


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("step", OUTSIDE)
def test_a_worker_that_is_killed_in_a_step_leaves_an_order_that_is_charged_once(
    hub: OrderHub, step: str, place: str
) -> None:
    placed = hub.place()
    killed_at(hub, hub.execution(placed).execution_id, f"workflows.{place}.{step}.act")
    hub.skip_waits()
    order = hub.go_on(placed)

    assert order.state is OrderState.CONFIRMED
    assert (hub.charged_minor(), hub.blocked()) == (2_500, 0)
    (stock,) = hub.figures()
    assert (stock.available, stock.held, stock.sold) == (8, 0, 2)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("step", UNDONE)
def test_a_worker_that_is_killed_in_an_undo_leaves_nothing_charged_and_nothing_held(
    hub: OrderHub, step: str, place: str
) -> None:
    placed = hub.place()
    assert hub.go_on(placed).state is OrderState.CONFIRMED
    service.cancel(hub.store, placed.order_id, reason="r", actor="otto")
    killed_at(hub, hub.execution(placed).execution_id, f"workflows.{place}.{step}.undo")
    hub.skip_waits()
    order = hub.go_on(placed)

    assert order.state is OrderState.CANCELLED
    assert (hub.charged_minor(), hub.blocked()) == (0, 0)
    (stock,) = hub.figures()
    assert (stock.available, stock.held, stock.sold) == (10, 0, 0)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("step", [OrderStepName.AUTHORISE_PAYMENT, OrderStepName.CAPTURE_PAYMENT])
def test_an_order_that_is_cancelled_after_its_worker_was_killed_holds_no_money(
    hub: OrderHub, step: str, place: str
) -> None:
    placed = hub.place()
    killed_at(hub, hub.execution(placed).execution_id, f"workflows.{place}.{step}.act")
    service.cancel(hub.store, placed.order_id, reason="r", actor="otto")
    hub.skip_waits()
    order = hub.go_on(placed)

    assert order.state is OrderState.CANCELLED
    assert (hub.charged_minor(), hub.blocked()) == (0, 0)


def test_two_hundred_customers_buy_twenty_pieces(hub: OrderHub) -> None:
    """Four processes at once, fifty orders each, of one piece: exactly twenty are confirmed."""
    hub.stock("lamp", 20)
    placed = [hub.place(f"w-{number}", lines=[Line(sku="lamp", quantity=1, price_minor=100)]) for number in range(200)]
    ids = [hub.execution(order).execution_id for order in placed]

    def work(part: int) -> None:
        with Store(hub.store.dsn) as own:
            flows = order_flows(lambda: Calls(own, hub.gateways.in_thread(own).open_client))  # type: ignore[arg-type]
            for execution_id in ids[part::4]:
                engine.advance(own, flows, execution_id)

    pids = [children.start(lambda part=part: work(part)) for part in range(4)]  # type: ignore[misc]
    assert [children.ended(pid) for pid in pids] == [0] * 4
    states = [hub.order(order).state for order in placed]
    (stock,) = hub.figures("lamp")

    assert states.count(OrderState.CONFIRMED) == 20
    assert states.count(OrderState.CANCELLED) == 180
    assert (stock.available, stock.held, stock.sold) == (0, 0, 20)
    assert hub.charged_minor() == 20 * 100
