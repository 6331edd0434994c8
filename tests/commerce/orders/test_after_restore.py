"""A hub that was restored from a backup knows nothing of the orders since: one that is placed again is not charged again."""

from __future__ import annotations

import pytest

from crossdock.commerce.orders.placement import OrderState
from crossdock.db.database import Store
from tests.commerce.orders.placing import open_hub
from tests.shop import query

#: All that came after the instant of the backup. The measurements go back, too: the same gateway is asked first.
TABLES = (
    "payment_fact",
    "payment_leg",
    "payment",
    "attempt",
    "gateway_call",
    "stock_hold",
    "stock",
    "execution_step",
    "execution",
    "placed_order",
)


def test_an_order_that_a_restored_hub_has_forgotten_is_charged_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_hub(store, monkeypatch) as hub:
        hub.stock("mug", 10)
        first = hub.go_on(hub.place())
        for table in TABLES:
            query(store, f"DELETE FROM {table} RETURNING 1")
        hub.stock("mug", 10)
        again = hub.go_on(hub.place())

        assert (first.state, again.state) == (OrderState.CONFIRMED, OrderState.CONFIRMED)
        assert (hub.charged_minor(), hub.blocked()) == (2_500, 0)
