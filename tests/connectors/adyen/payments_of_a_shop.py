"""A hub whose integration is the simulated Adyen, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from crossdock.connectors.adyen import Adyen
from crossdock.db.database import Store
from crossdock.http.auth import ApiKey
from crossdock.http.model import Limits
from crossdock.integrations import service as integration_service
from crossdock.integrations.actions import service
from crossdock.integrations.actions.model import Done, Ended
from crossdock.integrations.attempts import repository
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Integration
from crossdock.sandbox.adyen.platform import FakeAdyen
from crossdock.sandbox.adyen.stored_methods import SHOPPER

GATEWAY = "adyen_eu"
#: One attempt may take a second, which the tests of a time-out wait for.
IMPATIENT = Limits(timeout_s=1.0, connect_timeout_s=0.5, attempts=2, longest_wait_s=0.1)
#: What Adyen needs for a stored payment method, beside what every gateway does.
NEEDED = {"customer_reference": SHOPPER, "return_url": "https://shop.example.com/checkout"}


class World:
    """The platform, and the hub that asks it."""

    def __init__(self, adyen: FakeAdyen, store: Store) -> None:
        self.adyen, self.store = adyen, store
        self.merchant_account, self.api_key = adyen.merchant_account, adyen.api_key
        extra = json.dumps({"merchant_account": adyen.merchant_account})
        document = {"connection_id": GATEWAY, "conn_type": "adyen", "host": adyen.url, "extra": extra}
        integration_service.register(store, [document], actor="cli:up")

    def perform(
        self, action: str, given: dict[str, Any], *, key: str = "effect-1", store: Store | None = None
    ) -> Ended:
        return service.perform(store or self.store, self.client, GATEWAY, action, given, key=key, actor="airflow:otto")

    def done(self, action: str, given: dict[str, Any], *, key: str = "before") -> dict[str, Any]:
        """Perform what a test needs first."""
        ended = self.perform(action, given, key=key)
        assert isinstance(ended, Done), ended
        return dict(ended.output or {})

    def fault(self, route: str, *script: Any) -> None:
        self.adyen.faults.put(route, list(script))

    def ledger(self, kind: str | None = None) -> list[dict[str, Any]]:
        """What really happened, by the platform's own account."""
        return [entry for entry in self.adyen.state.ledger if kind in (None, entry["kind"])]

    def attempt(self, key: str = "effect-1") -> tuple[str, str | None]:
        with self.store.transaction() as work:
            found = repository.find(work, GATEWAY, key)
        assert found is not None
        return found.outcome, found.resolution

    @contextmanager
    def client(self, integration: Integration, _: Manifest) -> Iterator[Adyen]:
        yield Adyen(
            self.adyen.url,
            self.merchant_account,
            name=integration.integration_id,
            auth=ApiKey(self.api_key, header="x-API-key"),
            limits=IMPATIENT,
        )


def payment(method: str = "stored_authorised", **changed: Any) -> dict[str, Any]:
    """A valid input of `authorise`."""
    return {
        "reference": "order-4711",
        "amount_minor": 1999,
        "currency": "EUR",
        "payment_method": method,
        **NEEDED,
        **changed,
    }
