"""An order ends all done or all undone, by the gateways' own books and the stock's figures."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from crossdock.commerce.inventory import reservation_repository
from crossdock.commerce.inventory.repository import StockState
from crossdock.commerce.orders import service
from crossdock.commerce.orders.placement import Line, OrderState, ReferenceTaken
from crossdock.commerce.orders.steps import Sequence
from crossdock.commerce.payments import service as payments
from crossdock.commerce.payments.service import Request
from crossdock.db.database import Store
from crossdock.workflows import service as engine
from tests.commerce.orders.placing import OrderHub, open_hub, steps_of
from tests.shop import query


@pytest.fixture(params=list(Sequence))
def hub(request: pytest.FixtureRequest, store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[OrderHub]:
    with open_hub(store, monkeypatch, sequence=request.param) as opened:
        opened.stock("mug", 10)
        yield opened


def test_an_order_is_charged_once_and_its_stock_is_sold(hub: OrderHub) -> None:
    order = hub.go_on(hub.place())

    assert order.state is OrderState.CONFIRMED
    assert (hub.charged_minor(), hub.blocked()) == (2_500, 0)
    (stock,) = hub.figures()
    assert (stock.available, stock.held, stock.sold) == (8, 0, 2)


def test_a_declined_payment_gives_the_stock_back(hub: OrderHub) -> None:
    order = hub.go_on(hub.place(method="pm_declined"))

    assert (order.state, order.reason) == (OrderState.CANCELLED, "authorise_payment: the payment is declined")
    assert (hub.charged_minor(), hub.blocked()) == (0, 0)
    (stock,) = hub.figures()
    assert (stock.available, stock.held, stock.sold) == (10, 0, 0)


def test_a_payment_that_is_authorised_in_part_is_released(hub: OrderHub) -> None:
    """It is refused for the order, and holds money of the customer all the same."""
    order = hub.go_on(hub.place(method="pm_part"))

    assert order.state is OrderState.CANCELLED
    assert (hub.charged_minor(), hub.blocked()) == (0, 0)


@pytest.mark.parametrize("refunded", [False, True], ids=["captured", "captured and refunded"])
def test_what_a_person_captured_is_given_back_once_when_the_order_is_cancelled(
    hub: OrderHub, *, refunded: bool
) -> None:
    placed = hub.place()
    hub.advance(placed, before="capture_payment")
    (payment,) = payments.page(hub.store, reference=placed.order_id)[0]
    payments.capture(hub.gateways.payments, Request(payment.payment_id, "by hand", "otto"))
    if refunded:
        payments.refund(hub.gateways.payments, Request(payment.payment_id, "by hand", "otto"))
    order = hub.go_on(placed)

    assert order.state is OrderState.CANCELLED
    assert hub.charged_minor() == 0


def test_an_order_is_not_cancelled_while_money_is_kept_that_a_person_captured(hub: OrderHub) -> None:
    placed = hub.place()
    hub.advance(placed, before="capture_payment")
    (payment,) = payments.page(hub.store, reference=placed.order_id)[0]
    payments.capture(hub.gateways.payments, Request(payment.payment_id, "by hand", "otto"))
    service.cancel(hub.store, placed.order_id, reason="r", actor="otto")

    assert hub.go_on(placed).state is OrderState.CANCELLING
    assert hub.execution(placed).waits_for == "authorise_payment:undo"

    payments.refund(hub.gateways.payments, Request(payment.payment_id, "by hand", "otto"))
    engine.retry(hub.store, hub.execution(placed).execution_id, reason="refunded", actor="otto")
    assert hub.go_on(placed).state is OrderState.CANCELLED
    assert hub.charged_minor() == 0


def test_an_order_for_more_than_there_is_holds_no_money(hub: OrderHub) -> None:
    order = hub.go_on(hub.place(lines=[Line(sku="mug", quantity=11, price_minor=100)]))

    assert (order.state, order.reason) == (OrderState.CANCELLED, "reserve_stock: out of stock: mug (1 missing)")
    assert (hub.charged_minor(), hub.blocked()) == (0, 0)


def test_nothing_is_sold_from_the_stock_of_a_removed_integration(hub: OrderHub) -> None:
    state = StockState("/integrations/acme", "cup-1", "cup", "berlin", 10, 1, datetime.now(UTC))
    with hub.store.transaction() as work:
        reservation_repository.set_on_hand(work, [state])
    query(hub.store, "INSERT INTO removed_integration (integration_id) VALUES ('acme') RETURNING 1")
    order = hub.go_on(hub.place(lines=[Line(sku="cup", quantity=1, price_minor=100)]))

    assert (order.state, order.reason) == (OrderState.CANCELLED, "reserve_stock: out of stock: cup (1 missing)")


def test_the_same_order_again_is_the_first_one_and_another_under_its_reference_is_refused(hub: OrderHub) -> None:
    first = hub.place()

    assert hub.place().order_id == first.order_id
    with pytest.raises(ReferenceTaken):
        hub.place(lines=[Line(sku="mug", quantity=1, price_minor=1)])


@pytest.mark.parametrize("before", [True, False], ids=["before it begins", "when it is confirmed"])
def test_a_cancelled_order_leaves_no_charge_and_no_stock_taken(hub: OrderHub, *, before: bool) -> None:
    placed = hub.place()
    if not before:
        assert hub.go_on(placed).state is OrderState.CONFIRMED
    service.cancel(hub.store, placed.order_id, reason="the customer changed her mind", actor="otto")
    order = hub.go_on(placed)

    assert (order.state, order.reason) == (OrderState.CANCELLED, "cancelled by otto")
    assert (hub.charged_minor(), hub.blocked()) == (0, 0)
    (stock,) = hub.figures()
    assert (stock.available, stock.held, stock.sold) == (10, 0, 0)


FAULTS = [{"status": 503}, {"reset": "before"}, {"reset": "after"}]
NAMES = ["fails", "times out before", "times out after"]


@pytest.mark.parametrize("step", ["authorise_payment", "capture_payment"])
@pytest.mark.parametrize("fault", FAULTS, ids=NAMES)
def test_whatever_a_gateway_does_the_order_is_charged_once(hub: OrderHub, step: str, fault: Any) -> None:
    placed = hub.place()
    hub.advance(placed, before=step)
    hub.fault(fault, times=2)
    order = hub.go_on(placed)

    assert order.state is OrderState.CONFIRMED
    assert (hub.charged_minor(), hub.blocked()) == (2_500, 0)


@pytest.mark.parametrize("confirmed", [True, False], ids=["of a capture", "of an authorisation"])
@pytest.mark.parametrize("fault", FAULTS, ids=NAMES)
def test_whatever_a_gateway_does_an_undo_gives_the_money_back_once(
    hub: OrderHub, fault: Any, *, confirmed: bool
) -> None:
    placed = hub.place()
    hub.advance(placed, before=None if confirmed else "capture_payment")
    service.cancel(hub.store, placed.order_id, reason="r", actor="otto")
    hub.fault(fault, times=2)
    order = hub.go_on(placed)

    assert order.state is OrderState.CANCELLED
    assert (hub.charged_minor(), hub.blocked()) == (0, 0)


def test_steps_are_undone_the_last_first(hub: OrderHub) -> None:
    placed = hub.place()
    hub.go_on(placed)
    service.cancel(hub.store, placed.order_id, reason="r", actor="otto")
    hub.go_on(placed)
    undone = [step for step, direction, _ in steps_of(hub, placed) if direction == "undo"]
    acted = [step for step, direction, _ in steps_of(hub, placed) if direction == "act"]

    assert undone == acted[::-1]
