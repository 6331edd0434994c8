"""Who ordered is in the order alone, whatever the systems quote in their reasons."""

from __future__ import annotations

import pytest

from crossdock.app.orders import GatewayMoney, HubStock, MailConfirmations, StubShipping, not_called
from crossdock.commerce.orders import placed_repository, steps
from crossdock.commerce.orders.placement import OrderState, PlacedOrder
from crossdock.commerce.orders.ports import Ports
from crossdock.db.database import Store
from crossdock.integrations.actions.model import Ended, Refused
from crossdock.workflows import repository as executions
from crossdock.workflows.model import StepCall
from tests.commerce.orders.placing import open_hub


class QuotingCrm:
    """Says in its reason whom it was asked for."""

    def check(self, order: PlacedOrder, _call: StepCall) -> Ended:
        return Refused(f"550 <{order.email}>: blocked")


def test_a_reason_quotes_no_customer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(order_id: str) -> PlacedOrder:
        with store.transaction() as work:
            return placed_repository.get(work, order_id)

    with open_hub(store, monkeypatch) as hub:
        hub.flows = steps.flows(
            Ports(
                read=read,
                customers=QuotingCrm(),
                stock=HubStock(),
                money=GatewayMoney(not_called),
                shipping=StubShipping(),
                confirmations=MailConfirmations(not_called),
            )
        )
        order = hub.go_on(hub.place())
        with store.transaction() as work:
            found = executions.steps_of(work, hub.execution(order).execution_id)

    assert (order.state, order.reason) == (OrderState.CANCELLED, "check_customer: 550 <[hidden]>: blocked")
    assert order.email is not None
    assert all(order.email not in str(step) for step in found)
