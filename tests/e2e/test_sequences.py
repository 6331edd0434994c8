"""
The sequences of an order, message by message, on a real stack: as its client asks, and as events alone drive it.

What each participant did is asked of itself: the event store, the warehouse's holds, and the gateway's own ledger.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crossdock.app.orders import not_called, order_flows
from crossdock.cli.demo.second_system import connected, second_system
from crossdock.client.hub import HubApi
from crossdock.client.sandbox import SandboxControl
from crossdock.commerce.inventory import reservation_repository
from crossdock.commerce.inventory.repository import StockState
from crossdock.commerce.inventory.reservation_repository import HoldState
from crossdock.commerce.orders import service, steps
from crossdock.commerce.orders.placement import Line, NewOrder
from crossdock.core.paths import path_of
from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.model import Event
from crossdock.events.store import Selection
from crossdock.workflows.model import Driver
from tests.e2e.conftest import Hub
from tests.e2e.watched import Watched, eventually
from tests.shop import query

pytestmark = pytest.mark.e2e

GATEWAY, SKU = "sequence_stripe", "sequence-mug"
#: A price for each sequence, by which the gateway's ledger tells its order apart.
PRICES_MINOR = {1: 1_250, 3: 1_350}


@dataclass
class Participants:
    """A stack, its database, and the gateway."""

    api: HubApi
    store: Store
    gateway: SandboxControl

    def events_of(self, order_id: str) -> list[Event]:
        """The order's events, in the order of the store."""
        with self.store.transaction() as work:
            return list(event_store.select(work, Selection(key=order_id), limit=100))

    def wait_for(self, order_id: str, event: str) -> list[str]:
        """Wait for an event of the order's; the names of all until then."""

        def names() -> list[str] | None:
            found = [one.type.removeprefix("crossdock.order.") for one in self.events_of(order_id)]
            return found[: found.index(event) + 1] if event in found else None

        return eventually(names, timeout_s=120)

    def entries(self, order_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.get(path_of("journeys", "order", order_id), limit=500).document[
            "entries"
        ]
        return found

    def place_by_events(self, sequence: steps.Sequence) -> str:
        """Place an order as the order service does, in one of the two sequences."""
        new = NewOrder(
            reference=reference(),
            currency="EUR",
            lines=(Line(sku=SKU, quantity=1, price_minor=PRICES_MINOR[3]),),
            email="ada@customer.example",
            payment_methods={GATEWAY: "pm_card_visa"},
        )
        flow = order_flows(not_called)[steps.flow_name(sequence)]
        with self.store.transaction() as work:
            return service.place(work, flow, new, driver=Driver.EVENTS, actor="t")[0].order_id


def reference() -> str:
    return f"sequence-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def there(hub: Hub) -> Iterator[Participants]:
    stack, key = Watched(hub, timedelta(seconds=60)), f"sk_test_{secrets.token_hex(12)}"
    api, seed = HubApi(stack.api), ["--seed", str(secrets.randbits(32))]
    with (
        Store(stack.dsn) as store,
        second_system("stripe", seed, {"SANDBOX_STRIPE_KEY": key}) as gateway,
        connected(api, GATEWAY, "stripe", gateway, {"secret_key": key}),
    ):
        with store.transaction() as work:
            level = StockState("shop", SKU, SKU, "berlin", 100, 1, datetime.now(UTC))
            reservation_repository.set_on_hand(work, [level])
        yield Participants(api, store, gateway)


def test_sequence_1_a_client_s_order_and_its_event_are_one_transaction_and_the_event_has_stock_reserved(
    there: Participants,
) -> None:
    """Client → API → order and outbox, in one transaction → 201; then the event → the inventory reserves."""
    body = {
        "reference": reference(),
        "currency": "EUR",
        "lines": [{"sku": SKU, "quantity": 1, "price_minor": PRICES_MINOR[1]}],
        "email": "ada@customer.example",
        "payment_methods": {GATEWAY: "pm_card_visa"},
        "driver": "events",
    }
    # So that the order is as it was written until all of this is read.
    there.gateway.break_down("create_payment_intent", [{"latency_ms": 3_000}], repeat=False)
    answer = there.api.post("/orders", body).document
    order_id = answer["order_id"]
    created = there.events_of(order_id)[0]
    # The order itself is written in a savepoint, which has a number of its own; what is audited of it is not.
    audited = "SELECT xmin::text::bigint FROM audit_entry WHERE act = 'order.place' AND subject = %s"
    written = query(there.store, audited, f"order/{order_id}")
    names = there.wait_for(order_id, "inventory_reserved")
    with there.store.transaction() as work:
        holds = reservation_repository.holds_of(work, order_id)

    assert written == [(created.xid % 2**32,)], "the order and its event were committed together"
    assert (answer["state"], answer["steps"]) == ("open", [])
    assert created.type == "crossdock.order.created"
    assert names == ["created", "customer_checked", "inventory_reserved"]
    assert [(hold.sku, hold.quantity) for hold in holds] == [(SKU, 1)]
    there.wait_for(order_id, "confirmed")
    assert moved(there, PRICES_MINOR[1]) == ["authorised", "captured"]


def test_sequence_3_payment_then_inventory_then_shipping_then_the_order_s_status_each_by_the_event_before(
    there: Participants,
) -> None:
    """Order → payment → inventory → shipping → order, without anybody who asks; shipping by its stub."""
    order_id = there.place_by_events(steps.Sequence.PAY_FIRST)
    there.wait_for(order_id, "confirmed")
    entries = there.entries(order_id)
    at = {entry["name"]: entry["at"] for entry in entries if entry["kind"] in ("step", "stock", "fact")}
    shipped = next(one for one in entries if (one["kind"], one["name"]) == ("mapping", "schedule_shipment"))
    with there.store.transaction() as work:
        (hold,) = reservation_repository.holds_of(work, order_id)

    assert messages(there, order_id) == SEQUENCE_3
    # By what happened, and not only by what was said: the money was blocked before stock was held.
    assert at["authorised"] <= at["held"]
    assert moved(there, PRICES_MINOR[3]) == ["authorised", "captured"]
    assert hold.state is HoldState.SOLD
    assert shipped["detail"] == {"stub": True}
    assert there.api.get(path_of("orders", order_id)).document["state"] == "confirmed"


#: As the diagram draws it. `customer_checked` comes before the payment; the capture, after the shipment is scheduled.
SEQUENCE_3 = ["created", "payment_authorised", "inventory_reserved", "shipment_scheduled", "confirmed"]


def messages(there: Participants, order_id: str) -> Sequence[str]:
    """The messages of the diagram among the order's events, in the order of the store."""
    names = [one.type.removeprefix("crossdock.order.") for one in there.events_of(order_id)]
    return [name for name in names if name in SEQUENCE_3]


def moved(there: Participants, price_minor: int) -> list[str]:
    """How the gateway moved the price of an order, by its own ledger."""
    return [kind for kind, amount in there.gateway.ledger() if amount == price_minor]
