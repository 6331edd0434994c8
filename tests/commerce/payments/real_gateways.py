"""Both real connectors on their simulated providers, as an order meets them: two gateways of one shop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from crossdock.commerce.payments import service
from crossdock.commerce.payments.model import Payment, PaymentRequest
from crossdock.commerce.payments.service import Payments
from crossdock.connectors.adyen import Adyen
from crossdock.connectors.stripe import Stripe
from crossdock.db.database import Store
from crossdock.http.auth import ApiKey
from crossdock.http.model import Limits
from crossdock.integrations import service as integration_service
from crossdock.integrations.actions import service as actions
from crossdock.integrations.actions.model import Document, Ended
from crossdock.integrations.actions.service import OnDone
from crossdock.integrations.attempts.service import OnBegin
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Integration
from crossdock.sandbox.adyen.platform import FakeAdyen
from crossdock.sandbox.adyen.stored_methods import SHOPPER
from crossdock.sandbox.stripe.provider import FakeStripe

OTTO = "airflow:otto"
STRIPE, ADYEN = "stripe_eu", "adyen_eu"
METHODS = {STRIPE: "pm_card_visa", ADYEN: "stored_authorised"}
LIMITS = Limits(timeout_s=30.0, connect_timeout_s=10.0, attempts=2, longest_wait_s=0.05)


@dataclass
class RealGateways:
    """The hub with two gateways, and what their providers say."""

    store: Store
    stripe: FakeStripe
    adyen: FakeAdyen

    @property
    def payments(self) -> Payments:
        return Payments(self.store, self._perform)

    def place(self, reference: str = "order-4711", **changed: Any) -> Payment:
        request = {
            "reference": reference,
            "amount_minor": 4_990,
            "currency": "EUR",
            "payment_methods": METHODS,
            "customer_reference": SHOPPER,
            "return_url": "https://shop.example.com/checkout",
        }
        return service.authorise(self.payments, PaymentRequest(**(request | changed)), actor=OTTO)

    def ledger(self, gateway: str) -> list[tuple[str, int]]:
        """What moved money, by the provider's own account."""
        if gateway == STRIPE:
            return [(move["kind"], move["amount"]) for move in self.stripe.state.ledger]
        return [(entry["kind"], entry["value"]) for entry in self.adyen.state.ledger]

    def system(self, gateway: str) -> FakeStripe | FakeAdyen:
        return self.stripe if gateway == STRIPE else self.adyen

    def _perform(
        self,
        integration: str,
        action: str,
        given: Document,
        key: str,
        on_begin: OnBegin,
        *,
        on_done: OnDone | None = None,
    ) -> Ended:
        return actions.perform(
            self.store,
            self._client,
            integration,
            action,
            given,
            key=key,
            actor=OTTO,
            on_begin=on_begin,
            on_done=on_done,
        )

    @contextmanager
    def _client(self, integration: Integration, _: Manifest) -> Iterator[Any]:
        name = integration.integration_id
        client: Any
        if name == STRIPE:
            client = Stripe(self.stripe.key, base_url=self.stripe.url, name=name, limits=LIMITS)
        else:
            auth = ApiKey(self.adyen.api_key, header="x-API-key")
            client = Adyen(self.adyen.url, self.adyen.merchant_account, name=name, auth=auth, limits=LIMITS)
        yield client
        client.http.close()


@contextmanager
def connected(store: Store) -> Iterator[RealGateways]:
    """Run both providers and connect them."""
    with FakeStripe() as stripe, FakeAdyen(seed=3) as adyen:
        documents = [
            {"connection_id": STRIPE, "conn_type": "stripe", "host": stripe.url},
            {
                "connection_id": ADYEN,
                "conn_type": "adyen",
                "host": adyen.url,
                "extra": f'{{"merchant_account": "{adyen.merchant_account}"}}',
            },
        ]
        integration_service.register(store, documents, actor="cli:up")
        yield RealGateways(store, stripe, adyen)
