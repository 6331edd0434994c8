"""The steps of the demo with two payment gateways. Both integrations are removed again afterwards."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crossdock.cli.console import Bar
from crossdock.cli.demo.checks import DemoFailed, expect
from crossdock.cli.demo.run import DemoRun
from crossdock.cli.demo.second_system import connected, second_system
from crossdock.client.hub import HubApi, HubRefused
from crossdock.client.sandbox import SandboxControl
from crossdock.core.paths import path_of

_STRIPE, _ADYEN = "demo_stripe", "demo_adyen"
_AMOUNT_MINOR = 4_990
#: The tokens of the simulated gateways: each has its own.
_GOOD = {_STRIPE: "pm_card_visa", _ADYEN: "stored_authorised"}
_POOR = {_STRIPE: "pm_card_visa_chargeDeclinedInsufficientFunds", _ADYEN: "stored_refused_balance"}
#: How often an unknown outcome is asked for again, a second apart: until the circuit breaker lets a call through.
_MOST_QUESTIONS = 120

_Payment = dict[str, Any]


@dataclass(frozen=True)
class _Gateways:
    """The two gateways, each with the control of its simulated provider."""

    controls: Mapping[str, SandboxControl]

    def ledger(self, gateway: str) -> list[tuple[str, int]]:
        """List what the provider itself says happened: kind and amount of each movement."""
        return self.controls[gateway].ledger()

    def shown(self) -> str:
        return "; ".join(f"{gateway}'s own ledger: {_listed(self.ledger(gateway))}" for gateway in self.controls)


class PaymentSteps:
    """The steps with payments. Whatever the hub says is compared with the providers' own ledgers."""

    def __init__(self, run: DemoRun) -> None:
        self._hub = HubApi(run.stack.api())

    def charge(self, bar: Bar) -> str:
        """Authorise and capture a payment: at one gateway, once."""
        with self._gateways(bar) as gateways:
            payment = self._place(_GOOD)
            expect(payment["state"] == "authorised", f"the payment is {payment['state']}", _look_at(payment))
            gateway = _taken_by(payment)
            path = path_of("payments", payment["payment_id"])
            self._hub.post(f"{path}/captures", {})
            expect(("captured", _AMOUNT_MINOR) in gateways.ledger(gateway), f"{gateways.shown()}", _look_at(payment))
            others = [name for name in gateways.controls if name != gateway]
            was_once = not any(gateways.ledger(name) for name in others)
            expect(was_once, f"charged twice: {gateways.shown()}", _look_at(payment))
            return f"{_money(_AMOUNT_MINOR)} authorised and captured at {gateway}; {gateways.shown()}"

    def decline(self, bar: Bar) -> str:
        """Authorise a payment without funds: the first gateway's decision is final, and no other is asked."""
        with self._gateways(bar) as gateways:
            payment = self._place(_POOR)
            expect(payment["state"] == "declined", f"the payment is {payment['state']}", _look_at(payment))
            expect(len(payment["legs"]) == 1, f"{len(payment['legs'])} gateways were asked", _look_at(payment))
            leg = payment["legs"][0]
            return f"{leg['gateway']} declined ({leg['code']}), and no other was asked; {gateways.shown()}"

    def fail_over(self, bar: Bar) -> str:
        """Let the gateway that is asked first be down: it certainly had no effect, so the other takes the payment."""
        with self._gateways(bar) as gateways:
            first = self._asked_first()
            gateways.controls[first].break_down("*", [{"status": 503, "retry_after": 1}], repeat=True)
            bar.update(f"{first} is down")
            payment = self._place(_GOOD)
            taken = _taken_by(payment)
            expect(taken != first, f"{first} took it though it is down", _look_at(payment))
            expect(not gateways.ledger(first), f"charged twice: {gateways.shown()}", _look_at(payment))
            waited_s = _seconds(payment, first, taken)
            return f"{first} was down; {taken} answered {waited_s:.1f} s after its first failure (goal: 30); {gateways.shown()}"

    def unknown(self, bar: Bar) -> str:
        """Lose the answer of a gateway that has charged: no other is asked, and the same key finds out."""
        with self._gateways(bar) as gateways:
            first = self._asked_first()
            reference = _new_reference()
            gateways.controls[first].break_down("*", [{"reset": "after"}], repeat=True)
            bar.update(f"{first} charges, and its answers are lost")
            self._expect_unknown(reference)
            (payment,) = self._hub.get("/payments", reference=reference).document["payments"]
            expect(
                payment["is_unresolved"],
                f"the payment is {payment['state']}, though nobody can know",
                _look_at(payment),
            )
            others = [name for name in gateways.controls if name != first]
            was_once = not any(gateways.ledger(name) for name in others)
            expect(was_once, f"charged twice: {gateways.shown()}", _look_at(payment))
            gateways.controls[first].heal()
            found = self._resolved(payment["payment_id"], bar)
            expect(found["state"] == "authorised", f"the payment is {found['state']}", _look_at(found))
            charged = [move for move in gateways.ledger(first) if move[0] == "authorised"]
            is_once = charged == [("authorised", _AMOUNT_MINOR)]
            expect(is_once, f"charged {len(charged)} times: {gateways.shown()}", _look_at(found))
            return f"unknown at {first}, no other was asked; then the same key: authorised, once; {gateways.shown()}"

    def _place(self, methods: Mapping[str, str], reference: str | None = None) -> _Payment:
        body = {
            "reference": reference or _new_reference(),
            "amount_minor": _AMOUNT_MINOR,
            "currency": "EUR",
            "payment_methods": methods,
            "customer_reference": "customer-1",
            "return_url": "https://shop.example.com/checkout",
        }
        document: _Payment = self._hub.post("/payments", body, timeout_s=300.0).document
        return document

    def _expect_unknown(self, reference: str) -> None:
        try:
            self._place(_GOOD, reference)
        except HubRefused as error:
            kind = str(error.problem.get("type"))
            expect(kind.endswith("outcome-unknown"), f"the hub answered {kind}: {error}")
            return
        raise DemoFailed("the hub says what became of a payment whose answer was lost")

    def _resolved(self, payment_id: str, bar: Bar) -> _Payment:
        for attempt in range(_MOST_QUESTIONS):
            try:
                document: _Payment = self._hub.post(path_of("payments", payment_id, "resolve"), {}).document
            except HubRefused as error:
                if attempt == _MOST_QUESTIONS - 1:
                    raise
                bar.update(str(error))
                time.sleep(1.0)
            else:
                return document
        raise DemoFailed(f"its outcome stays unknown. To look at it: ./hub payments show {payment_id}")

    def _asked_first(self) -> str:
        ours = [
            found["gateway"]
            for found in self._hub.get("/payment-gateways").document["gateways"]
            if found["gateway"] in _GOOD
        ]
        return str(ours[0])

    @contextmanager
    def _gateways(self, bar: Bar) -> Iterator[_Gateways]:
        """Run both simulated providers and connect them; remove the integrations when the block ends."""
        of_stripe, of_adyen = f"sk_test_{secrets.token_hex(12)}", secrets.token_hex(16)
        # A provider never gives a reference twice, whenever its simulation was started.
        seed = ["--seed", str(secrets.randbits(32))]
        with (
            second_system("stripe", seed, {"SANDBOX_STRIPE_KEY": of_stripe}) as stripe,
            second_system("adyen", seed, {"SANDBOX_ADYEN_API_KEY": of_adyen}) as adyen,
        ):
            bar.update(f"connecting {_STRIPE} and {_ADYEN}")
            account = {"merchant_account": "SandboxECOM"}
            with (
                connected(self._hub, _STRIPE, "stripe", stripe, {"secret_key": of_stripe}),
                connected(self._hub, _ADYEN, "adyen", adyen, {"api_key": of_adyen}, account),
            ):
                yield _Gateways({_STRIPE: stripe, _ADYEN: adyen})


def _new_reference() -> str:
    return f"demo-{uuid.uuid4().hex[:12]}"


def _taken_by(payment: _Payment) -> str:
    taken = [leg["gateway"] for leg in payment["legs"] if leg["outcome"] == "done"]
    expect(len(taken) == 1, f"{len(taken)} gateways took the payment, not 1", _look_at(payment))
    return str(taken[0])


def _look_at(payment: _Payment) -> str:
    return f"./hub payments show {payment['payment_id']}"


def _seconds(payment: _Payment, failed: str, taken: str) -> float:
    legs = {leg["gateway"]: leg for leg in payment["legs"]}
    first_failed, answered = legs[failed]["first_failed_at"], legs[taken]["answered_at"]
    return (datetime.fromisoformat(answered) - datetime.fromisoformat(first_failed)).total_seconds()


def _money(minor: int) -> str:
    return f"{minor / 100:.2f} EUR"


def _listed(moves: list[tuple[str, int]]) -> str:
    return ", ".join(f"{kind} {_money(minor)}" for kind, minor in moves) or "nothing"
