"""Orders that a real Airflow drives: one by its ID, a batch, a run that failed and is cleared, one that is compensated."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crossdock.cli.demo.second_system import connected, second_system
from crossdock.client import dag_runs
from crossdock.client.errors import AirflowRefused
from crossdock.client.hub import HubApi
from crossdock.client.sandbox import SandboxControl
from crossdock.commerce.inventory import reservation_repository
from crossdock.commerce.inventory.repository import StockState
from crossdock.core.paths import path_of
from crossdock.db.database import Store
from tests.e2e.conftest import Hub
from tests.e2e.watched import Watched

pytestmark = pytest.mark.e2e

DAG, GATEWAY, SECOND, SKU, PRICE_MINOR = "place_order", "dag_stripe", "dag_second", "dag-mug", 1_250
GOOD, POOR = "pm_card_visa", "pm_card_visa_chargeDeclinedInsufficientFunds"


@dataclass
class Shop:
    """A stack with stock and two gateways; the second is down for a while."""

    hub: Hub
    stack: Watched
    provider: SandboxControl
    second: SandboxControl

    @property
    def api(self) -> HubApi:
        return HubApi(self.stack.api)

    def place(self, number: int = 1, *, method: str = GOOD, gateway: str = GATEWAY) -> list[str]:
        """The IDs of orders that wait for the DAG."""
        line = {"sku": SKU, "quantity": 1, "price_minor": PRICE_MINOR}
        body = {
            "currency": "EUR",
            "email": "ada@customer.example",
            "payment_methods": {gateway: method},
            "lines": [line],
            "driver": "dag",
        }
        references = (f"dag-{uuid.uuid4().hex[:12]}" for _ in range(number))
        return [self.api.post("/orders", {"reference": one, **body}).document["order_id"] for one in references]

    def run(self, order_id: str) -> str:
        """Drive one order in a run of its own, as the command does."""
        self.hub("order", "run", order_id, "--no-wait")
        return f"order__{order_id}"

    def order(self, order_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(path_of("orders", order_id)).document
        return found

    def end_of(self, run_id: str) -> str:
        return dag_runs.wait_for_end(self.stack.api, DAG, run_id, timeout_s=600)


@dataclass(frozen=True)
class Driven:
    """What became of the orders: the first runs at once, and the two that follow from them at once."""

    single: str
    declined: str
    stuck: str
    batch: list[str]
    refused: int
    again: str
    stuck_before: dict[str, Any]
    #: Run → its state at the end.
    ends: dict[str, str]
    stuck_end: str


@pytest.fixture(scope="module")
def shop(hub: Hub) -> Iterator[Shop]:
    stack = Watched(hub, timedelta(seconds=60))
    stock = StockState("shop", SKU, SKU, "berlin", 1_000, 1, datetime.now(UTC))
    with Store(stack.dsn) as store, store.transaction() as work:
        reservation_repository.set_on_hand(work, [stock])
    with gateway(stack, GATEWAY) as provider, gateway(stack, SECOND) as second:
        yield Shop(hub, stack, provider, second)


@contextmanager
def gateway(stack: Watched, name: str) -> Iterator[SandboxControl]:
    key, seed = f"sk_test_{secrets.token_hex(12)}", ["--seed", str(secrets.randbits(32))]
    with (
        second_system("stripe", seed, {"SANDBOX_STRIPE_KEY": key}) as provider,
        connected(HubApi(stack.api), name, "stripe", provider, {"secret_key": key}),
    ):
        yield provider


@pytest.fixture(scope="module")
def driven(shop: Shop) -> Driven:
    """A run takes as long as Airflow needs for its tasks: those that can go at once do."""
    shop.second.break_down("*", [{"status": 503}], repeat=True)
    (single,), (declined,), (stuck,) = shop.place(), shop.place(method=POOR), shop.place(gateway=SECOND)
    runs = [shop.run(order_id) for order_id in (single, declined, stuck)]
    refused = refusal_of(shop, single)
    ends = {run_id: shop.end_of(run_id) for run_id in runs}
    stuck_before = shop.order(stuck)
    shop.second.heal()

    batch = shop.place(20)
    cancelled = shop.hub("order", "compensate", single, "--reason", "the customer called")
    again = shop.hub("order", "run", declined, exit_code=None)
    run_id = shop.stack.api.trigger(DAG)
    shop.hub("order", "run", stuck, "--retry", "--no-wait")
    ends[run_id] = shop.end_of(run_id)
    stuck_end = shop.end_of(f"order__{stuck}")
    assert cancelled
    return Driven(single, declined, stuck, batch, refused, again, stuck_before, ends, stuck_end)


def refusal_of(shop: Shop, order_id: str) -> int:
    """The status with which Airflow refuses a second run of the order."""
    with pytest.raises(AirflowRefused) as refused:
        shop.stack.api.trigger(DAG, {"order_id": order_id}, run_id=f"order__{order_id}")
    return refused.value.status


def test_an_order_has_one_run_of_its_own_and_a_second_one_is_refused(driven: Driven) -> None:
    assert driven.ends[f"order__{driven.single}"] == "success"
    assert driven.refused == 409
    assert "has had its run" in driven.again


def test_a_declined_order_ends_and_fails_no_run(shop: Shop, driven: Driven) -> None:
    """A refusal is the end of an order, and no fault of a DAG."""
    order = shop.order(driven.declined)

    assert (order["state"], driven.ends[order["dag_run_id"]]) == ("cancelled", "success")
    assert "declined" in order["reason"]


def test_a_run_that_failed_is_cleared_and_its_order_is_charged_once(shop: Shop, driven: Driven) -> None:
    """Its gateway was down for longer than the tries of the task."""
    assert (driven.ends[f"order__{driven.stuck}"], driven.stuck_before["state"]) == ("failed", "open")
    assert (driven.stuck_end, shop.order(driven.stuck)["state"]) == ("success", "confirmed")
    assert [kind for kind, _ in shop.second.ledger()] == ["authorised", "captured"]


def test_a_batch_confirms_each_waiting_order_once_and_compensates_what_was_cancelled(
    shop: Shop, driven: Driven
) -> None:
    kinds = [kind for kind, _ in shop.provider.ledger()]

    assert {shop.order(order_id)["state"] for order_id in driven.batch} == {"confirmed"}
    assert shop.order(driven.single)["state"] == "cancelled"
    assert (kinds.count("captured"), kinds.count("refunded")) == (21, 1)
