"""
Each payment gateway before a provider of its own, for the one suite that all of them pass.

A new gateway is one more class here, and its entry in GATEWAYS.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import msgspec

from crossdock.commerce.payments.events import PaymentFact
from crossdock.connectors.adyen.webhooks import WEBHOOK as ADYEN_WEBHOOK
from crossdock.connectors.stripe import Stripe
from crossdock.connectors.stripe.webhooks import WEBHOOK as STRIPE_WEBHOOK
from crossdock.db.database import Store
from crossdock.events.model import NewEvent
from crossdock.events.webhooks_in.ports import Delivery, IsEvent, Webhook
from crossdock.http.model import Limits
from crossdock.integrations import service as integration_service
from crossdock.integrations.actions import service
from crossdock.integrations.actions.model import Document, Ended
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Integration
from crossdock.sandbox.adyen.platform import FakeAdyen
from crossdock.sandbox.stripe.provider import FakeStripe
from tests.connectors.adyen import payments_of_a_shop as adyen

#: Two tries with short waits between them. Each may take long: no test of theirs is of a time-out.
QUICK = Limits(timeout_s=60.0, connect_timeout_s=30.0, attempts=2, longest_wait_s=0.05)
#: Anywhere in a message or in what is stored: a secret got out.
CANARY = "sk_test_canary45c48cce"


class Money(NamedTuple):
    """What the provider has, by its own account, of one payment."""

    captured_minor: int
    refunded_minor: int
    voided: bool


class Bench(Protocol):
    """A provider, and a hub that asks it."""

    #: Tokens of payment methods by what becomes of a payment: `good`, `declined`, `needs_action`.
    methods: dict[str, str]

    def perform(self, action: str, given: Document, *, key: str) -> Ended: ...

    def payment(self, outcome: str, **changed: Any) -> dict[str, Any]:
        """A valid input of `authorise` with the method whose payments end so."""
        ...

    def customer_acts(self, payment_ref: str) -> dict[str, Any]:
        """Let the customer of a payment do what is asked; give the input of `finish`."""
        ...

    def money(self, payment_ref: str) -> Money: ...

    def effects(self) -> int:
        """How often the provider has moved or reserved money."""
        ...

    def events(self) -> Sequence[NewEvent]:
        """What the provider's webhooks mean so far, in the order that it sends them."""
        ...

    def lose_answers(self, count: int) -> None:
        """The next requests have their effect, and their answers are lost."""
        ...


class Gateway(Protocol):
    name: str
    #: That of its manifest, whose quality the suite is evidence of.
    kind: str

    def bench(self, store: Store) -> AbstractContextManager[Bench]: ...


def facts(events: Sequence[NewEvent]) -> list[PaymentFact]:
    return [msgspec.json.decode(event.data, type=PaymentFact) for event in events]


def events_of(webhook: Webhook, integration: str, documents: Sequence[Any]) -> Iterator[NewEvent]:
    """What deliveries mean, by the connector's own declaration; those that mean nothing here are left out."""
    for number, document in enumerate(documents):
        delivery = Delivery(integration, f"d-{number}", datetime.now(UTC), document)
        names = [name for name in webhook.types_of(delivery) if name in webhook.meanings]
        if names:
            meaning = webhook.meanings[names[0]]
            assert isinstance(meaning, IsEvent)
            yield from meaning.events(delivery)


class AdyenBench:
    """The simulated Adyen."""

    methods = {  # noqa: RUF012  never changed
        "good": "stored_authorised",
        "declined": "stored_refused_balance",
        "needs_action": "stored_redirect",
    }

    def __init__(self, platform: FakeAdyen, store: Store) -> None:
        self.platform, self.world = platform, adyen.World(platform, store)

    def perform(self, action: str, given: Document, *, key: str) -> Ended:
        return self.world.perform(action, dict(given), key=key)

    def payment(self, outcome: str, **changed: Any) -> dict[str, Any]:
        return adyen.payment(self.methods[outcome], **changed)

    def customer_acts(self, payment_ref: str) -> dict[str, Any]:
        return {"payment_ref": payment_ref, "details": {"redirectResult": payment_ref}}

    def money(self, payment_ref: str) -> Money:
        payment = self.platform.state.find(payment_ref)
        return Money(payment.captured, payment.refunded, payment.state == "cancelled")

    def effects(self) -> int:
        return len(self.platform.state.ledger)

    def lose_answers(self, count: int) -> None:
        self.platform.faults.put("*", [{"reset": "after"}] * count)

    def events(self) -> Sequence[NewEvent]:
        items = [sending.item for sending in self.platform.outbox.sendings]
        documents = [{"notificationItems": [{"NotificationRequestItem": item}]} for item in items]
        return list(events_of(ADYEN_WEBHOOK, adyen.GATEWAY, documents))


class AdyenGateway:
    name, kind = "adyen", "adyen"

    @contextmanager
    def bench(self, store: Store) -> Iterator[Bench]:
        with FakeAdyen(seed=11, api_key=CANARY) as platform:
            yield AdyenBench(platform, store)


class StripeBench:
    """The simulated Stripe."""

    methods = {  # noqa: RUF012  never changed
        "good": "pm_card_visa",
        "declined": "pm_card_visa_chargeDeclinedInsufficientFunds",
        "needs_action": "pm_card_threeDSecure2Required",
    }

    def __init__(self, provider: FakeStripe, store: Store) -> None:
        self._provider, self._store = provider, store

    def perform(self, action: str, given: Document, *, key: str) -> Ended:
        return service.perform(self._store, self._client, "gateway", action, given, key=key, actor="airflow:otto")

    def payment(self, outcome: str, **changed: Any) -> dict[str, Any]:
        given = {"reference": "order-4711", "amount_minor": 1999, "currency": "EUR"}
        return {**given, "payment_method": self.methods[outcome], **changed}

    def customer_acts(self, payment_ref: str) -> dict[str, Any]:
        self._provider.state.authenticate(payment_ref, succeeds=True)
        return {"payment_ref": payment_ref, "details": {}}

    def money(self, payment_ref: str) -> Money:
        moves = [move for move in self._provider.state.ledger if move["payment_intent"] == payment_ref]
        total = {
            kind: sum(move["amount"] for move in moves if move["kind"] == kind) for kind in ("captured", "refunded")
        }
        return Money(total["captured"], total["refunded"], any(move["kind"] == "released" for move in moves))

    def effects(self) -> int:
        return len(self._provider.state.ledger)

    def lose_answers(self, count: int) -> None:
        self._provider.faults.put("*", [{"reset": "after"}] * count)

    def events(self) -> Sequence[NewEvent]:
        return list(events_of(STRIPE_WEBHOOK, "gateway", list(self._provider.state.events.values())))

    @contextmanager
    def _client(self, integration: Integration, _: Manifest) -> Iterator[Stripe]:
        client = Stripe(CANARY, base_url=self._provider.url, name=integration.integration_id, limits=QUICK)
        yield client
        client.http.close()


class StripeGateway:
    name, kind = "stripe", "stripe"

    @contextmanager
    def bench(self, store: Store) -> Iterator[Bench]:
        with FakeStripe(key=CANARY) as provider:
            document = {"connection_id": "gateway", "conn_type": "stripe", "host": provider.url}
            integration_service.register(store, [document], actor="cli:up")
            yield StripeBench(provider, store)


#: Every gateway. The suite runs for each.
GATEWAYS: list[Gateway] = [AdyenGateway(), StripeGateway()]
