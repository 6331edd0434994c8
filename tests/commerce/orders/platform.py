"""A hub that takes orders of a shop on the simulated commercetools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from crossdock.app.orders import Calls, order_flows
from crossdock.commerce.orders.placement import PlacedOrder
from crossdock.connectors.commercetools import Commercetools
from crossdock.db.database import Store
from crossdock.http.model import Limits
from crossdock.integrations import manifests as manifests_module
from crossdock.integrations import service as integrations
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Integration
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from tests.commerce.orders.placing import OrderHub, open_hub
from tests.commerce.payments.gateways import Gateways

SHOP = "shop_eu"
#: One attempt may take a second, which the tests of a time-out wait for.
_IMPATIENT = Limits(timeout_s=1.0, connect_timeout_s=0.5, attempts=2, longest_wait_s=0.1)


@dataclass
class PlatformHub:
    """The hub, and the shop whose orders it takes."""

    orders: OrderHub
    shop: FakeRetailer

    @property
    def row(self) -> dict[str, Any]:
        """The order of these tests, as the shop has it now."""
        return self.shop.state.get("orders", self._first.id).document

    @property
    def _first(self) -> Any:
        return next(iter(self.shop.state.collection("orders").rows()))

    def place(self, **options: Any) -> PlacedOrder:
        return self.orders.place(self.row["orderNumber"], platform=SHOP, **options)

    def edit(self, **fields: Any) -> None:
        """Have somebody at the shop change the order."""
        self.shop.state.change("orders", self._first.id, lambda order: order.update(fields))

    def fault(self, *script: Any, route: str = "orders") -> None:
        self.shop.faults.put(route, list(script))

    @property
    def marks(self) -> list[str]:
        return [known["externalId"] for known in self.row["syncInfo"]]

    def writes(self) -> int:
        """How many requests that change an order arrived at the shop."""
        return sum(entry.method == "POST" and "/orders/" in entry.path for entry in self.shop.requests)


def client_of(shop: FakeRetailer, name: str) -> Commercetools:
    return Commercetools.signed_in(
        shop.url,
        shop.project,
        name=name,
        client_id=shop.client_id,
        secret=shop.client_secret,
        scope=f"manage_project:{shop.project}",
        limits=_IMPATIENT,
    )


def calls_of(store: Store, gateways: Gateways, shop: FakeRetailer) -> Calls:
    """What the steps of an order need: the gateways and the shop."""

    @contextmanager
    def open_client(integration: Integration, manifest: Manifest) -> Iterator[Any]:
        if integration.integration_id == SHOP:
            yield client_of(shop, SHOP)
            return
        opened: AbstractContextManager[Any] = gateways.open_client(integration, manifest)
        with opened as client:
            yield client

    return Calls(store, open_client)


@contextmanager
def open_platform(store: Store, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Iterator[PlatformHub]:
    commercetools = manifests_module.manifests()["commercetools"]
    with (
        FakeRetailer(seed=5, inventory=20, products=5, orders=5, customers=3, flaws=0) as shop,
        open_hub(store, monkeypatch, **options) as hub,
    ):
        kinds = {**manifests_module.manifests(), "commercetools": commercetools}
        monkeypatch.setattr(manifests_module, "manifests", lambda: kinds)
        document = {
            "connection_id": SHOP,
            "conn_type": "commercetools",
            "host": shop.url,
            "extra": json.dumps({"project": shop.project}),
        }
        integrations.register(store, [document], actor="cli:up")
        hub.flows = order_flows(lambda: calls_of(store, hub.gateways, shop))
        opened = PlatformHub(hub, shop)
        opened.edit(orderState="Open", paymentState="Pending", syncInfo=[], inventoryMode="None")
        yield opened
