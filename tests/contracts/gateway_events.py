"""
Each payment gateway before a provider of its own, for the rules about its answers and its events together.

A new gateway is one more class here, and its entry in GATEWAYS.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import msgspec

from crossdock.commerce.payments.events import PaymentFact
from crossdock.connectors.adyen.webhooks import WEBHOOK as ADYEN_WEBHOOK
from crossdock.db.database import Store
from crossdock.events.model import NewEvent
from crossdock.events.webhooks_in.ports import Delivery, IsEvent, Webhook
from crossdock.integrations.actions.model import Document, Ended
from crossdock.sandbox.adyen.platform import FakeAdyen
from tests.connectors.adyen import payments_of_a_shop as adyen


class Money(NamedTuple):
    """What the provider has, by its own account, of one payment."""

    captured_minor: int
    refunded_minor: int
    voided: bool


class Bench(Protocol):
    """A provider, and a hub that asks it."""

    #: Tokens of payment methods by what becomes of a payment: `good`, `declined`, `needs_action`.
    methods: dict[str, str]

    def perform(self, name: str, given: Document, key: str) -> Ended: ...

    def payment(self, outcome: str, **changed: Any) -> dict[str, Any]:
        """A valid input of `authorise` with the method whose payments end so."""
        ...

    def money(self, payment_ref: str) -> Money: ...

    def effects(self) -> int:
        """How often the provider has moved or reserved money."""
        ...

    def events(self) -> Sequence[NewEvent]:
        """What the provider's webhooks mean so far, in the order that it sends them."""
        ...


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

    def perform(self, name: str, given: Document, key: str) -> Ended:
        """Perform an action through the hub; a payment says what Adyen also needs, unless it does."""
        needed = {**adyen.NEEDED, **given} if name == "authorise" else dict(given)
        return self.world.perform(name, needed, key=key)

    def moved(self) -> list[tuple[str, int]]:
        """What money moved, by the provider's own ledger, in minor units."""
        kinds = {"voided": "released"}
        return [(kinds.get(entry["kind"], entry["kind"]), entry["value"]) for entry in self.platform.state.ledger]

    def lose_answers(self, count: int) -> None:
        """Let the next requests have their effect, and lose their answers."""
        self.platform.faults.put("*", [{"reset": "after"}] * count)

    def payment(self, outcome: str, **changed: Any) -> dict[str, Any]:
        return adyen.payment(self.methods[outcome], **changed)

    def money(self, payment_ref: str) -> Money:
        payment = self.platform.state.find(payment_ref)
        return Money(payment.captured, payment.refunded, payment.state == "cancelled")

    def effects(self) -> int:
        return len(self.platform.state.ledger)

    def events(self) -> Sequence[NewEvent]:
        items = [sending.item for sending in self.platform.outbox.sendings]
        documents = [{"notificationItems": [{"NotificationRequestItem": item}]} for item in items]
        return list(events_of(ADYEN_WEBHOOK, adyen.GATEWAY, documents))


class AdyenGateway:
    name, kind = "adyen", "adyen"
    good_method, poor_method = "stored_authorised", "stored_refused_balance"

    @contextmanager
    def bench(self, store: Store) -> Iterator[AdyenBench]:
        with FakeAdyen(seed=11) as platform:
            yield AdyenBench(platform, store)


GATEWAYS = [AdyenGateway()]
