"""What somebody does in the dashboard of a simulated Stripe, past the hub, and the event by which Stripe says so."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests

from crossdock.cli.demo.checks import DemoFailed, expect
from crossdock.cli.demo.second_system import connected, second_system
from crossdock.client.hub import HubApi

_AMOUNT_MINOR = 4_990
_TIMEOUT_S = 60.0


class StripeAccount:
    """An account with one payment, which the hub has authorised."""

    def __init__(self, hub: HubApi, integration: str, url: str, key: str) -> None:
        self._url, self._headers = f"{url}/v1", {"Authorization": f"Bearer {key}"}
        payment = hub.post("/payments", _payment(integration), timeout_s=300.0).document
        expect(payment["state"] == "authorised", f"the payment is {payment['state']}")
        self.payment_id: str = payment["payment_id"]
        self.payment_ref: str = payment["legs"][0]["payment_ref"]

    def capture(self) -> str:
        """Capture the payment; return Stripe's event."""
        self._do(f"payment_intents/{self.payment_ref}/capture", {})
        return self._event("payment_intent.succeeded")

    def refund(self) -> str:
        """Refund it; return Stripe's event."""
        self._do("refunds", {"payment_intent": self.payment_ref})
        return self._event("refund.created")

    def unused_event(self) -> str:
        """Return an event of a type that the hub does not use."""
        return self._event("payment_intent.created")

    def _do(self, path: str, form: Mapping[str, str]) -> None:
        answer = requests.post(f"{self._url}/{path}", data=form, headers=self._headers, timeout=_TIMEOUT_S)
        expect(answer.ok, f"the simulated Stripe answered {answer.status_code}: {answer.text[:200]}")

    def _event(self, event_type: str) -> str:
        answer = requests.get(
            f"{self._url}/events", params={"type": event_type}, headers=self._headers, timeout=_TIMEOUT_S
        )
        for event in answer.json()["data"]:
            if self.payment_ref in json.dumps(event["data"]):
                return json.dumps(event)
        raise DemoFailed(f"the simulated Stripe has no event {event_type} of {self.payment_ref}")


@contextmanager
def stripe_account(hub: HubApi, integration: str) -> Iterator[StripeAccount]:
    """Run a simulated Stripe, connect it as *integration* and authorise a payment; remove the integration when the block ends."""
    key = f"sk_test_{secrets.token_hex(12)}"
    # A provider never gives a reference twice, whenever its simulation was started.
    seed = ["--seed", str(secrets.randbits(32))]
    with (
        second_system("stripe", seed, {"SANDBOX_STRIPE_KEY": key}) as system,
        connected(hub, integration, "stripe", system, {"secret_key": key}),
    ):
        yield StripeAccount(hub, integration, system.url, key)


def _payment(integration: str) -> dict[str, Any]:
    return {
        "reference": f"demo-{uuid.uuid4().hex[:12]}",
        "amount_minor": _AMOUNT_MINOR,
        "currency": "EUR",
        "payment_methods": {integration: "pm_card_visa"},
        "customer_reference": "customer-1",
        "return_url": "https://shop.example.com/checkout",
    }
