"""An order that waits to hear of its payment goes on when the gateway's event has come, not when its time has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from crossdock.app.services import services
from crossdock.app.subscribers import subscribers
from crossdock.commerce.orders.placement import OrderState
from crossdock.commerce.payments import repository as payment_repository
from crossdock.commerce.payments.events import PAYMENT_REPORTED, FactKind, PaymentFact
from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.model import NewEvent
from crossdock.events.store import Selection
from tests.commerce.orders.placing import OrderHub, open_hub


def reported(hub: OrderHub, reference: str, kind: FactKind) -> NewEvent:
    """The gateway's event about the payment of an order."""
    with hub.store.transaction() as work:
        (payment,) = payment_repository.page(work, reference=reference, limit=1)
        (leg,) = payment_repository.legs_of(work, payment.payment_id)
    assert leg.payment_ref is not None
    assert leg.operation_ref is not None
    fact = PaymentFact(
        gateway=leg.gateway,
        payment_ref=leg.payment_ref,
        operation_ref=leg.operation_ref,
        kind=kind,
        occurred_at=datetime.now(UTC),
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        reference=reference,
    )
    return NewEvent(
        source=f"/integrations/{leg.gateway}",
        type=PAYMENT_REPORTED.name,
        subject=leg.payment_ref,
        time=fact.occurred_at,
        partition_key=leg.payment_ref,
        data=msgspec.json.encode(fact).decode(),
    )


def test_the_gateways_event_wakes_the_order_that_waits_for_it_and_no_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_hub(store, monkeypatch) as hub:
        hub.stock("mug", 10)
        asked, other = (hub.place(reference, method="pm_asks") for reference in ("w-1", "w-2"))
        for placed in (asked, other):
            hub.advance(placed)
        with store.transaction() as work:
            work.execute("UPDATE execution_step SET next_at = now() + interval '1 hour' WHERE state = 'waiting'")
            work.execute("UPDATE execution SET next_at = now() + interval '1 hour'")
            event_store.append(work, [reported(hub, asked.order_id, FactKind.AUTHORISED)])
        with store.transaction() as work:
            events = event_store.select(work, Selection(types=(PAYMENT_REPORTED.name,)), limit=10)
        apply = subscribers(services())["payments"].apply
        assert apply is not None
        with store.transaction() as work:
            apply(work, events)

        assert hub.execution(other).next_at > datetime.now(UTC) + timedelta(minutes=30)  # type: ignore[operator]
        hub.advance(asked)
        assert hub.order(asked).state is OrderState.CONFIRMED
        assert hub.order(other).state is OrderState.OPEN
