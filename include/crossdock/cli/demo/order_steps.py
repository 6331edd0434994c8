"""The steps of the demo with orders: five of them, each followed to its end, beside the gateway's own ledger."""

from __future__ import annotations

import os
import secrets
import signal
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import psutil  # type: ignore[import-untyped]

from crossdock.cli import journeys
from crossdock.cli.console import Bar
from crossdock.cli.demo.checks import expect
from crossdock.cli.demo.run import DemoRun
from crossdock.cli.demo.second_system import connected, second_system
from crossdock.client.hub import HubApi
from crossdock.client.sandbox import SandboxControl
from crossdock.commerce.inventory import reservation_repository
from crossdock.commerce.inventory.repository import StockState
from crossdock.commerce.inventory.reservation_repository import Figures
from crossdock.core.paths import path_of
from crossdock.db.database import Store
from crossdock.stack import processes

_GATEWAY = "demo_shop_stripe"
_GOOD, _POOR = "pm_card_visa", "pm_card_visa_chargeDeclinedInsufficientFunds"
_PRICE_MINOR, _ON_HAND = 1_250, 10
_AUTHORISE = "create_payment_intent"
_TIME_OUTS = 2
#: Long enough to find the worker that waits for the answer.
_HOLD_S = 30
#: After that something is missing, and not slow, on a machine with twenty times the work that it can do.
_MISSING_AFTER_S = 600.0
#: What a journey is shown by in one line.
_SHOWN = frozenset({"order", "step", "undo"})

#: State → the states through which an order comes to it.
_BEFORE = {"confirmed": ("open",), "cancelled": ("open", "confirmed", "cancelling")}

_Order = dict[str, Any]


class OrderSteps:
    """The steps with orders, at one simulated gateway. It is removed again by `close`."""

    def __init__(self, run: DemoRun, store: Store) -> None:
        self._hub, self._store, self._opened = HubApi(run.stack.api()), store, ExitStack()
        self._sku = f"demo-mug-{uuid.uuid4().hex[:8]}"
        self._placed: list[str] = []

    def close(self) -> None:
        """Remove the gateway, if a step has connected it."""
        self._opened.close()

    def killed(self, bar: Bar) -> str:
        """Kill the worker while the gateway has charged and not answered: the order goes on, with one charge."""
        self._put_on_shelf()
        bar.update(f"connecting {_GATEWAY}")
        # The first order of the gateway: only the worker that makes its call is connected to it.
        self._gateway.break_down(_AUTHORISE, [{"timeout": "after", "hold_s": _HOLD_S}], repeat=False)
        order_id = self._place()
        pid = self._caller(bar)
        self._wait_until(lambda: self._ledger("authorised") == 1, "the gateway has not charged", bar)
        os.kill(pid, signal.SIGKILL)
        # Nobody else can know that this process is dead: the hub would wait until its call must be over, two minutes.
        body = {"reason": "the process that called was killed", "process_is_dead": True}
        self._hub.post(path_of("orders", order_id, "retry"), body)
        order = self._ended(order_id, "confirmed", bar)
        expect(self._ledger("authorised") == 1, f"charged {self._ledger('authorised')} times", _look_at(order))
        return f"process {pid} was killed after the charge and before its answer; {self._shown(order)}"

    def confirmed(self, bar: Bar) -> str:
        """Place an order and follow it until it is confirmed."""
        return self._shown(self._ended(self._place(), "confirmed", bar))

    def declined(self, bar: Bar) -> str:
        """Place an order that its customer cannot pay: its stock is given back."""
        order = self._ended(self._place(_POOR), "cancelled", bar)
        expect("declined" in order["reason"], f"it was cancelled because {order['reason']}", _look_at(order))
        return f"{order['reason']}; {self._shown(order)}"

    def timed_out(self, bar: Bar) -> str:
        """Let the gateway charge, and never answer: what became of it is found out by the same key."""
        charges, questions = self._ledger("authorised"), self._authorisations_asked()
        self._gateway.break_down(_AUTHORISE, [{"timeout": "after", "hold_s": 0.2}] * _TIME_OUTS, repeat=False)
        order = self._ended(self._place(), "confirmed", bar)
        charges, questions = self._ledger("authorised") - charges, self._authorisations_asked() - questions
        expect(questions > _TIME_OUTS, f"the gateway was asked {questions} times", _look_at(order))
        expect(charges == 1, f"charged {charges} times", _look_at(order))
        return f"asked {questions} times with one key, charged once; {self._shown(order)}"

    def cancelled(self, bar: Bar) -> str:
        """Cancel an order that is confirmed: its money and its stock are given back."""
        order = self._ended(self._place(), "confirmed", bar)
        available = self._stock.available
        self._hub.post(path_of("orders", order["order_id"], "cancel"), {"reason": "the customer called"})
        order = self._ended(order["order_id"], "cancelled", bar)
        expect(self._ledger("refunded") == 1, f"refunded {self._ledger('refunded')} times", _look_at(order))
        expect(
            self._stock.available == available + 1,
            f"{self._stock.available} are available, not {available + 1}",
            _look_at(order),
        )
        return self._shown(order)

    def balanced(self, _bar: Bar) -> str:
        """Compare all orders of this chapter with the gateway's own ledger, the stock and the mails."""
        orders = [self._order(order_id) for order_id in self._placed]
        confirmed = sum(order["state"] == "confirmed" for order in orders)
        paid_minor = self._total_minor("captured") - self._total_minor("refunded")
        expect(
            paid_minor == confirmed * _PRICE_MINOR,
            f"the gateway took {_money(paid_minor)} for {confirmed} confirmed orders of {_money(_PRICE_MINOR)}",
        )
        stock = self._stock
        expect(
            (stock.available, stock.held, stock.sold) == (_ON_HAND - confirmed, 0, confirmed),
            f"{confirmed} orders are confirmed, and the stock is {stock}",
        )
        return (
            f"{len(orders)} orders, {confirmed} confirmed; the gateway's own ledger: captured "
            f"{_money(self._total_minor('captured'))}, refunded {_money(self._total_minor('refunded'))}, kept "
            f"{_money(paid_minor)} for {confirmed} at {_money(_PRICE_MINOR)}; stock: {_ON_HAND} = {stock.available} available + "
            f"{stock.sold} sold, none held"
        )

    @cached_property
    def _gateway(self) -> SandboxControl:
        """Run the provider and connect it, at the first step that needs it."""
        key = f"sk_test_{secrets.token_hex(12)}"
        # A provider never gives a reference twice, whenever its simulation was started.
        seed = ["--seed", str(secrets.randbits(32))]
        provider = self._opened.enter_context(second_system("stripe", seed, {"SANDBOX_STRIPE_KEY": key}))
        self._opened.enter_context(connected(self._hub, _GATEWAY, "stripe", provider, {"secret_key": key}))
        return provider

    def _put_on_shelf(self) -> None:
        """Have a warehouse say that there is stock."""
        level = StockState("demo", self._sku, self._sku, None, _ON_HAND, 1, datetime.now(UTC))
        with self._store.transaction() as work:
            reservation_repository.set_on_hand(work, [level])

    @property
    def _stock(self) -> Figures:
        with self._store.transaction() as work:
            (found,) = reservation_repository.figures(work, [self._sku])
        return found

    def _place(self, method: str = _GOOD) -> str:
        body = {
            "reference": f"demo-{uuid.uuid4().hex[:12]}",
            "currency": "EUR",
            "lines": [{"sku": self._sku, "quantity": 1, "price_minor": _PRICE_MINOR, "name": "Mug"}],
            "email": "ada@customer.example",
            "payment_methods": {_GATEWAY: method},
            "driver": "events",
        }
        order_id = str(self._hub.post("/orders", body).document["order_id"])
        self._placed.append(order_id)
        return order_id

    def _order(self, order_id: str) -> _Order:
        document: _Order = self._hub.get(path_of("orders", order_id)).document
        return document

    def _ended(self, order_id: str, state: str, bar: Bar) -> _Order:
        """Follow an order until it is in *state* and nothing of it is left to do."""

        def is_over() -> bool:
            order = self._order(order_id)
            look = _look_at(order)
            expect(order["waits_for"] is None, f"{order_id} waits for a person: {order['waits_for']}", look)
            expect(
                order["state"] in (state, *_BEFORE[state]), f"{order_id} is {order['state']}: {order['reason']}", look
            )
            return order["state"] == state and order["progress"] in ("completed", "undone")

        self._wait_until(is_over, f"{order_id} is not {state}: ./hub order trace {order_id}", bar)
        return self._order(order_id)

    def _wait_until(self, holds: Any, otherwise: str, bar: Bar) -> None:
        began = time.monotonic()
        while not holds():
            expect(time.monotonic() - began < _MISSING_AFTER_S, otherwise)
            bar.update("Waiting for the order")
            time.sleep(0.1)

    def _caller(self, bar: Bar) -> int:
        """Find the process of the delivery worker that waits for the gateway's answer."""
        found: list[int] = []

        def is_there() -> bool:
            found[:] = _connected_to(int(self._gateway.url.rpartition(":")[2]))
            return bool(found)

        self._wait_until(is_there, "no worker calls the gateway", bar)
        return found[0]

    def _ledger(self, kind: str) -> int:
        return sum(found == kind for found, _ in self._gateway.ledger())

    def _authorisations_asked(self) -> int:
        asked = ((request["method"], request["path"]) for request in self._gateway.requests())
        return sum(one == ("POST", "/v1/payment_intents") for one in asked)

    def _total_minor(self, kind: str) -> int:
        return sum(minor for found, minor in self._gateway.ledger() if found == kind)

    def _journey(self, order: _Order) -> Sequence[dict[str, Any]]:
        found: list[dict[str, Any]] = self._hub.get(
            path_of("journeys", "order", order["order_id"]), limit=500
        ).document["entries"]
        return found

    def _shown(self, order: _Order) -> str:
        """Write its journey in short: each step with the time since it was placed."""
        passed = [_passed(entry) for entry in self._journey(order) if entry["kind"] in _SHOWN]
        return f"{order['state']}: {' ► '.join(passed)} (all of it: ./hub order trace {order['order_id']})"


def _look_at(order: _Order) -> str:
    return f"./hub order trace {order['order_id']}"


def _passed(entry: dict[str, Any]) -> str:
    words = [journeys.offset(entry["after_s"]), "undo" if entry["kind"] == "undo" else "", entry["name"]]
    if entry["kind"] != "order" and entry["state"] != "done":
        words.append(f"[{entry['state']}]")
    if (entry["tries"] or 0) > 1:
        words.append(f"(try {entry['tries']})")
    return " ".join(word for word in words if word)


def _connected_to(port: int) -> list[int]:
    """List the processes of Airflow's tasks that are connected to *port* of this machine."""
    found = []
    for process in processes.members(["scheduler"])["scheduler"]:
        with suppress(psutil.Error):
            if any(each.raddr and each.raddr.port == port for each in process.net_connections("tcp")):
                found.append(process.pid)
    return found


def _money(minor: int) -> str:
    return f"{minor / 100:.2f} EUR"
