"""The provider's sandbox and the hub before it: what the tests of the connector share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from crossdock.connectors.stripe import Stripe
from crossdock.db.database import Store
from crossdock.http.model import Limits
from crossdock.integrations import service as integration_service
from crossdock.integrations.actions import service
from crossdock.integrations.actions.model import Done, Ended
from crossdock.integrations.attempts import repository
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Integration
from crossdock.sandbox.stripe.provider import FakeStripe
from tests.connectors.stripe.cases import CASES

GATEWAY = "stripe_eu"
#: One attempt may take a second, which the tests of a time-out wait for.
IMPATIENT = Limits(timeout_s=1.0, connect_timeout_s=0.5, attempts=2, longest_wait_s=0.1)


class Payments:
    """An account with the payment that an action is about, and the hub."""

    def __init__(self, provider: FakeStripe, store: Store, name: str = "authorise") -> None:
        self.provider, self.store, self.name, self.case = provider, store, name, CASES[name]
        document = {"connection_id": GATEWAY, "conn_type": "stripe", "host": provider.url}
        integration_service.register(store, [document], actor="cli:up")
        self.payment_ref = self._prepared() if self.case.after else ""
        self.given = self.case.given(self.payment_ref)
        self._before = len(provider.state.ledger)

    def perform(
        self,
        name: str | None = None,
        given: dict[str, Any] | None = None,
        *,
        key: str = "effect-1",
        store: Store | None = None,
    ) -> Ended:
        given = given or self.given
        return service.perform(
            store or self.store, self._client, GATEWAY, name or self.name, given, key=key, actor="airflow:otto"
        )

    def fault(self, *script: Any, repeat: bool = False) -> None:
        """Put a script on the route of the action."""
        self.provider.faults.put(self.case.route, list(script), repeat=repeat)

    @property
    def effects(self) -> list[tuple[str, int]]:
        """What money moved since, by the provider's own ledger."""
        return [(move["kind"], move["amount"]) for move in self.provider.state.ledger[self._before :]]

    @property
    def sent(self) -> int:
        """How many requests that write arrived."""
        return sum(entry.method == "POST" for entry in self.provider.requests)

    def attempt(self) -> tuple[str, str | None]:
        with self.store.transaction() as work:
            found = repository.find(work, GATEWAY, "effect-1")
        assert found is not None
        return found.outcome, found.resolution

    def _prepared(self) -> str:
        """Bring a payment to the state that the action needs."""
        authorised = self.perform("authorise", CASES["authorise"].given(""), key="earlier-1")
        assert isinstance(authorised, Done)
        assert authorised.output is not None
        payment_ref = str(authorised.output["payment_ref"])
        for number, name in enumerate(self.case.after[1:], start=2):
            assert isinstance(self.perform(name, CASES[name].given(payment_ref), key=f"earlier-{number}"), Done)
        self.provider.requests.clear()
        return payment_ref

    @contextmanager
    def _client(self, integration: Integration, _: Manifest) -> Iterator[Stripe]:
        client = Stripe(
            self.provider.key, base_url=self.provider.url, name=integration.integration_id, limits=IMPATIENT
        )
        yield client
        client.http.close()
