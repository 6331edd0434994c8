"""A HubSpot account in the sandbox, and the hub before it: what the tests of its actions share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from crossdock.connectors.hubspot.client import HubSpot, client_of
from crossdock.db.database import Store
from crossdock.http.connection import Connection
from crossdock.http.model import Limits
from crossdock.integrations import service as integration_service
from crossdock.integrations.actions import service
from crossdock.integrations.actions.model import Done, Ended
from crossdock.integrations.attempts import repository
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Integration
from crossdock.sandbox.hubspot.contacts import Contact
from crossdock.sandbox.hubspot.crm import FakeCrm

ACCOUNT = "crm_eu"
#: One attempt may take a second, which the tests of a time-out wait for.
IMPATIENT = Limits(timeout_s=1.0, connect_timeout_s=0.5, attempts=2, longest_wait_s=0.1)


class Account:
    """The account and its integration. The client is opened from a connection, as in production."""

    def __init__(self, crm: FakeCrm, store: Store, **settings: Any) -> None:
        self.crm, self.store = crm, store
        calls = {"limits": msgspec.to_builtins(IMPATIENT)}
        extra = {"calls": calls, "allowed_networks": ["127.0.0.0/8"], **settings}
        self.connection = Connection(
            connection_id=ACCOUNT, conn_type="hubspot", host=crm.url, password=crm.token, extra=extra
        )
        document = {
            "connection_id": ACCOUNT,
            "conn_type": "hubspot",
            "host": crm.url,
            "extra": json.dumps(settings),
        }
        integration_service.register(store, [document], actor="cli:up")

    def perform(self, name: str, given: dict[str, Any], *, key: str = "effect-1", store: Store | None = None) -> Ended:
        return service.perform(store or self.store, self._client, ACCOUNT, name, given, key=key, actor="airflow:otto")

    def read(self, name: str, **given: Any) -> dict[str, Any]:
        """The output of a read that answers."""
        ended = self.perform(name, given)
        assert isinstance(ended, Done), ended
        assert ended.output is not None
        return dict(ended.output)

    def find(self, key: str, *attributes: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.read("find_customer", key=key, attributes=list(attributes))["customer"]
        return found

    def fault(self, *script: Any, repeat: bool = False) -> None:
        self.crm.faults.put("contacts", list(script), repeat=repeat)

    def contact(self, key: str) -> Contact:
        """The contact in the account, as it is now."""
        return self.crm.state.get(key, "email")

    def change(self, key: str, **properties: str) -> Contact:
        """Somebody changes a contact in the account."""
        changed = self.crm.state.update(self.contact(key), properties)
        del self.crm.state.ledger[-1]
        return changed

    @property
    def effects(self) -> list[str]:
        """What the hub's requests did, in order."""
        return [effect.kind for effect in self.crm.state.ledger]

    def sent(self, *, method: str = "POST", path: str = "") -> int:
        """How many such requests arrived."""
        return sum(entry.method == method and entry.path.endswith(path) for entry in self.crm.requests)

    def attempt(self, key: str = "effect-1") -> tuple[str, str | None]:
        with self.store.transaction() as work:
            found = repository.find(work, ACCOUNT, key)
        assert found is not None
        return found.outcome, found.resolution

    def client(self) -> HubSpot:
        """The connector's client, which is its source, too."""
        return client_of(ACCOUNT, self.connection, None)

    @contextmanager
    def _client(self, _integration: Integration, _manifest: Manifest) -> Iterator[HubSpot]:
        yield self.client()
