"""Who ordered is in the order alone, whatever the systems quote in their reasons."""

from __future__ import annotations

import pytest

from crossdock.app.orders import GatewayMoney, HubStock, MailConfirmations, PlatformOrders, StubShipping, not_called
from crossdock.commerce.orders import placed_repository, steps
from crossdock.commerce.orders import service as orders
from crossdock.commerce.orders.placement import OrderState, PlacedOrder
from crossdock.commerce.orders.ports import Ports
from crossdock.db.database import Store
from crossdock.integrations.actions.model import Ended, Refused
from crossdock.workflows import repository as executions
from crossdock.workflows import service as engine
from crossdock.workflows.model import StepCall, StepState
from tests.commerce.orders.placing import open_hub
from tests.shop import query


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
                platform=PlatformOrders(not_called),
            )
        )
        order = hub.go_on(hub.place())
        with store.transaction() as work:
            found = executions.steps_of(work, hub.execution(order).execution_id)

    assert (order.state, order.reason) == (OrderState.CANCELLED, "check_customer: 550 <[hidden]>: blocked")
    assert order.email is not None
    assert all(order.email not in str(step) for step in found)


def tables_with(store: Store, words: str) -> list[str]:
    """Every table of the hub that has the words in one of its columns."""
    tables = query(
        store, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
    )
    return [
        name
        for (name,) in tables
        if query(store, f"SELECT 1 FROM {name} AS found WHERE strpos(found::text, %s) > 0 LIMIT 1", words)
    ]


def test_what_a_person_writes_is_in_the_audit_trail_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may name a customer; the order, its steps and its events are shown to everybody, and say who decided."""
    words = "her sister Anne says so"
    with open_hub(store, monkeypatch) as hub:
        hub.stock("mug", 10)
        undecided, cancelled = hub.place("w-1"), hub.place("w-2")
        hub.go_on(cancelled)
        orders.cancel(store, cancelled.order_id, reason=words, actor="otto")
        hub.go_on(cancelled)
        execution_id = hub.execution(undecided).execution_id
        hub.advance(undecided, before="capture_payment")
        query(store, _WAITS_FOR_A_PERSON, execution_id)
        engine.retry(store, execution_id, reason=words, actor="otto")
        query(store, _WAITS_FOR_A_PERSON, execution_id)
        engine.resolve(store, execution_id, StepState.REFUSED, reason=words, actor="otto")
        decided = hub.go_on(undecided)

    assert tables_with(store, words) == ["audit_entry"]
    assert hub.order(cancelled).reason == "cancelled by otto"
    assert decided.reason == "keep_stock: otto said that it is refused"


_WAITS_FOR_A_PERSON = "UPDATE execution SET waits_for = 'keep_stock:act' WHERE execution_id = %s RETURNING 1"
