"""
Each payment gateway before a provider of its own, for the one suite that all of them pass.

A new gateway is one more class here, and its entry in GATEWAYS.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from crossdock.connectors.stripe import Stripe
from crossdock.db.database import Store
from crossdock.http.model import Limits
from crossdock.integrations import service as integration_service
from crossdock.integrations.actions import service
from crossdock.integrations.actions.model import Ended
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Integration
from crossdock.sandbox.stripe.provider import FakeStripe

#: Two tries with short waits between them. Each may take long: no test of theirs is of a time-out.
QUICK = Limits(timeout_s=60.0, connect_timeout_s=30.0, attempts=2, longest_wait_s=0.05)
#: Anywhere in a message or in what is stored: a secret got out.
CANARY = "sk_test_canary45c48cce"


class GatewayBench(Protocol):
    """A provider, and the hub's integration of it."""

    def perform(self, name: str, given: dict[str, Any], key: str) -> Ended:
        """Perform an action through the hub."""
        ...

    def moved(self) -> list[tuple[str, int]]:
        """What money moved, by the provider's own ledger: `authorised`, `captured`, `released`, `refunded`, in minor units."""
        ...

    def lose_answers(self, count: int) -> None:
        """The next requests have their effect, and their answers are lost."""
        ...


class Gateway(Protocol):
    name: str
    #: That of its manifest, whose quality the suite is evidence of.
    kind: str
    #: Tokens of the provider: one that is authorised, one that is declined for lack of funds.
    good_method: str
    poor_method: str

    def bench(self, store: Store) -> AbstractContextManager[GatewayBench]: ...


class _StripeBench:
    def __init__(self, provider: FakeStripe, store: Store) -> None:
        self._provider, self._store = provider, store

    def perform(self, name: str, given: dict[str, Any], key: str) -> Ended:
        return service.perform(self._store, self._client, "gateway", name, given, key=key, actor="airflow:otto")

    def moved(self) -> list[tuple[str, int]]:
        return [(move["kind"], move["amount"]) for move in self._provider.state.ledger]

    def lose_answers(self, count: int) -> None:
        self._provider.faults.put("*", [{"reset": "after"}] * count)

    @contextmanager
    def _client(self, integration: Integration, _: Manifest) -> Iterator[Stripe]:
        client = Stripe(CANARY, base_url=self._provider.url, name=integration.integration_id, limits=QUICK)
        yield client
        client.http.close()


class StripeGateway:
    name, kind = "stripe", "stripe"
    good_method, poor_method = "pm_card_visa", "pm_card_visa_chargeDeclinedInsufficientFunds"

    @contextmanager
    def bench(self, store: Store) -> Iterator[_StripeBench]:
        with FakeStripe(key=CANARY) as provider:
            document = {"connection_id": "gateway", "conn_type": "stripe", "host": provider.url}
            integration_service.register(store, [document], actor="cli:up")
            yield _StripeBench(provider, store)


#: Every gateway. The suite runs for each.
GATEWAYS: list[Gateway] = [StripeGateway()]
