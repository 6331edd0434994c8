"""Orders for tests: a hub with two gateways over sockets, stock, and the flows of orders on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from crossdock.app.orders import Calls, order_flows
from crossdock.commerce.inventory import reservation_repository
from crossdock.commerce.inventory.repository import StockState
from crossdock.commerce.inventory.reservation_repository import Figures
from crossdock.commerce.orders import placed_repository, service, steps
from crossdock.commerce.orders.placement import Line, NewOrder, PlacedOrder
from crossdock.commerce.orders.steps import Sequence as Order
from crossdock.commerce.payments.model import ANY_GATEWAY
from crossdock.db.database import Store
from crossdock.workflows import repository as executions
from crossdock.workflows import service as engine
from crossdock.workflows.model import Driver, Execution, FixedFlow
from tests.commerce.payments.gateways import Gateways, connected


@dataclass
class OrderHub:
    """A hub that takes orders."""

    store: Store
    gateways: Gateways
    flows: dict[str, FixedFlow]
    sequence: Order = Order.RESERVE_FIRST

    def stock(self, sku: str, available: int, *, warehouse: str = "berlin", version: int = 1) -> None:
        """Have the platform say how much there is."""
        state = StockState("shop", f"{sku}-{warehouse}", sku, warehouse, available, version, datetime.now(UTC))
        with self.store.transaction() as work:
            reservation_repository.set_on_hand(work, [state])

    def figures(self, sku: str = "mug") -> list[Figures]:
        with self.store.transaction() as work:
            return reservation_repository.figures(work, [sku])

    def place(
        self,
        reference: str = "w-1",
        *,
        lines: Sequence[Line] = (Line(sku="mug", quantity=2, price_minor=1250),),
        method: str = "pm_visa",
        driver: Driver = Driver.EVENTS,
        platform: str | None = None,
    ) -> PlacedOrder:
        new = NewOrder(
            reference=reference,
            currency="EUR",
            lines=tuple(lines),
            email="ada@example.com",
            payment_methods={ANY_GATEWAY: method},
            platform=platform,
        )
        flow = self.flows[steps.flow_name(self.sequence, of_platform=platform is not None)]
        with self.store.transaction() as work:
            return service.place(work, flow, new, driver=driver, actor="t")[0]

    def order(self, placed: PlacedOrder) -> PlacedOrder:
        with self.store.transaction() as work:
            return placed_repository.get(work, placed.order_id)

    def execution(self, placed: PlacedOrder) -> Execution:
        with self.store.transaction() as work:
            return service.execution_of(work, placed.order_id)

    def advance(self, placed: PlacedOrder, *, before: str | None = None) -> Execution:
        """Move it on; with *before*, only up to that step."""
        execution = self.execution(placed)
        names = [step.name for step in self.flows[execution.flow].steps]
        within = names[: names.index(before)] if before else None
        return engine.advance(self.store, self.flows, execution.execution_id, within=within)

    def fault(self, fault: Any, *, times: int) -> None:
        """Have the next requests of both gateways end so."""
        for server in self.gateways.servers.values():
            server.faults.put("*", [fault] * times)

    def go_on(self, placed: PlacedOrder, *, turns: int = 60) -> PlacedOrder:
        """Move it on until nothing more happens by itself; its waits are over at once."""
        for _ in range(turns):
            found = self.advance(placed)
            if found.next_at is None:
                return self.order(placed)
            self.skip_waits()
        raise AssertionError(f"{found.state} does not come to an end")

    def skip_waits(self) -> None:
        with self.store.transaction() as work:
            work.execute("UPDATE execution_step SET next_at = now() WHERE next_at > now()")

    def charged_minor(self) -> int:
        """What the customer has paid in the end, by the gateways' own books."""
        servers = self.gateways.servers.values()
        taken = sum(body["amount_minor"] for server in servers for body in server.done("capture"))
        return taken - sum(body["amount_minor"] for server in servers for body in server.done("refund"))

    def blocked(self) -> int:
        """How many authorisations hold money of the customer, by the gateways' own books."""
        return sum(self.gateways.effects(action) for action in ("authorise",)) - sum(
            self.gateways.effects(action) for action in ("void", "capture")
        )


@contextmanager
def open_hub(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, sequence: Order = Order.RESERVE_FIRST
) -> Iterator[OrderHub]:
    with connected(store, monkeypatch) as gateways:
        flows = order_flows(lambda: Calls(store, gateways.open_client))  # type: ignore[arg-type]
        yield OrderHub(store, gateways, flows, sequence)


def steps_of(hub: OrderHub, placed: PlacedOrder) -> list[tuple[str, str, str]]:
    """Each step with its direction and state, in the order in which they began."""
    with hub.store.transaction() as work:
        found = executions.steps_of(work, hub.execution(placed).execution_id)
    return [(row.step, row.direction, row.state) for row in found]
