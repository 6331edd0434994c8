"""The registry and Airflow's connections: neither keeps what the other has not."""

from __future__ import annotations

import pytest

from crossdock.core.errors import Conflict, NotFound
from crossdock.db.database import Store, StoreUnavailable, Work
from crossdock.http.connection import Connection
from crossdock.integrations import service
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from tests.shop import query

ADA = "airflow:ada"


class Book:
    """Airflow's connections, in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[str, Connection] = {}

    def get(self, connection_id: str) -> Connection | None:
        return self.kept.get(connection_id)

    def create(self, connection: Connection) -> None:
        if connection.connection_id in self.kept:
            raise Conflict(connection.connection_id)
        self.kept[connection.connection_id] = connection

    def replace(self, connection: Connection) -> None:
        if connection.connection_id not in self.kept:
            raise NotFound(connection.connection_id)
        self.kept[connection.connection_id] = connection

    def remove(self, connection_id: str) -> None:
        self.kept.pop(connection_id, None)


def wish(shop: FakeRetailer) -> service.NewIntegration:
    return service.NewIntegration(
        integration_id="acme",
        kind="commercetools",
        name="ACME",
        settings={
            "base_url": shop.url,
            "project": shop.project,
            "scope": f"view_products:{shop.project} view_orders:{shop.project}",
            "allowed_networks": ["127.0.0.0/8"],
        },
        credentials={"client_id": shop.client_id, "client_secret": shop.client_secret},
    )


def test_an_integration_that_cannot_be_stored_leaves_no_secret_behind(store: Store, shop: FakeRetailer) -> None:
    """Nothing would name it: nobody would rotate or remove it, and the next attempt would find its ID taken."""
    book = Book()

    def fail(work: Work, added: service.Added) -> None:
        assert book.kept, "the connection comes first"
        raise StoreUnavailable(f"the disk is full: {work}, {added}")

    with pytest.raises(StoreUnavailable):
        service.add(store, book, wish(shop), actor=ADA, on_stored=fail)

    assert book.kept == {}
    assert query(store, "SELECT count(*) FROM integration") == [(0,)]
    assert service.add(store, book, wish(shop), actor=ADA).integration.integration_id == "acme"
    assert list(book.kept) == ["acme"]
