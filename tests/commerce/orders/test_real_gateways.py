"""An order that is paid at one of two real connectors, by the providers' own accounts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crossdock.app.orders import Calls, order_flows
from crossdock.commerce.orders import service
from crossdock.commerce.orders.placement import Line, NewOrder, OrderState, PlacedOrder
from crossdock.commerce.payments import service as payments
from crossdock.db.database import Store
from crossdock.sandbox.adyen.stored_methods import SHOPPER
from crossdock.workflows import repository as executions
from crossdock.workflows.model import Driver
from tests.commerce.orders.placing import OrderHub
from tests.commerce.payments.real_gateways import ADYEN, METHODS, STRIPE, RealGateways, connected

World = tuple[OrderHub, RealGateways]


@pytest.fixture
def world(store: Store) -> Iterator[World]:
    with connected(store) as gateways:
        flows = order_flows(lambda: Calls(store, gateways._client))
        hub = OrderHub(store, None, flows)  # type: ignore[arg-type]  the gateways are the real ones
        hub.stock("mug", 10)
        yield hub, gateways


def placed(hub: OrderHub, reference: str, **changed: Any) -> PlacedOrder:
    new: dict[str, Any] = {
        "reference": reference,
        "currency": "EUR",
        "lines": (Line(sku="mug", quantity=2, price_minor=1250),),
        "email": "ada@example.com",
        "payment_methods": METHODS,
        "customer_reference": SHOPPER,
        "return_url": "https://shop.example.com/checkout",
    }
    with hub.store.transaction() as work:
        flow = hub.flows["order.reserve_first.v1"]
        order, _ = service.place(work, flow, NewOrder(**(new | changed)), driver=Driver.EVENTS, actor="t")
    return hub.go_on(order)


def test_an_order_is_paid_at_adyen(world: World) -> None:
    hub, gateways = world
    order = placed(hub, "w-1", payment_methods={ADYEN: METHODS[ADYEN]})

    assert order.state is OrderState.CONFIRMED
    kinds = [kind for kind, _ in gateways.ledger(ADYEN)]
    assert kinds.count("captured") == 1


def test_without_the_customers_reference_adyen_is_passed_by(world: World) -> None:
    hub, gateways = world

    assert placed(hub, "w-1", customer_reference=None).state is OrderState.CONFIRMED
    assert gateways.ledger(ADYEN) == []


def test_an_order_that_no_gateway_can_ever_take_is_cancelled_and_says_why(world: World) -> None:
    """It would be refused again and again, for half an hour."""
    hub, gateways = world
    order = placed(hub, "w-1", customer_reference=None, payment_methods={ADYEN: METHODS[ADYEN]})

    assert order.state is OrderState.CANCELLED
    assert order.reason is not None
    assert "customer_reference" in order.reason
    assert hub.figures()[0].held == 0
    assert gateways.ledger(ADYEN) == []


def test_a_wrong_payment_method_of_one_order_is_declined_and_the_account_is_not_in_trouble(world: World) -> None:
    hub, gateways = world
    order = placed(hub, "w-1", payment_methods={STRIPE: "pm_of_another_account"})
    with hub.store.transaction() as work:
        tries = executions.steps_of(work, hub.execution(order).execution_id)
    health = payments.gateways_by_health(hub.store)

    assert (order.state, order.reason) == (OrderState.CANCELLED, "authorise_payment: the payment is declined")
    assert [step.tries for step in tries if (step.step, step.direction) == ("authorise_payment", "act")] == [1]
    assert [found.in_trouble for found in health] == [False, False]
    assert gateways.ledger(STRIPE) == []


def test_the_next_gateway_is_asked_with_its_own_token(world: World) -> None:
    hub, gateways = world

    assert (
        placed(hub, "w-1", payment_methods={**METHODS, STRIPE: "pm_of_another_account"}).state is OrderState.CONFIRMED
    )
    assert [kind for kind, _ in gateways.ledger(ADYEN)].count("captured") == 1
