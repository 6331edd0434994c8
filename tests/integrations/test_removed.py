"""An integration that is removed: its stock is no longer available for sale."""

from __future__ import annotations

import msgspec
import pytest

from crossdock.commerce.inventory import repository as inventory_repository
from crossdock.commerce.inventory import service as inventory_service
from crossdock.core.errors import NotFound
from crossdock.db.database import Store
from crossdock.http.connection import Connection
from crossdock.integrations import repository as integration_repository
from crossdock.integrations import service
from crossdock.integrations.registered import find_active
from tests.events.worlds import delivery, eventually, publish, stock

ADA = "cli:ada"


class NoBook:
    """Of connections that come from the environment: nothing is written."""

    def get(self, connection_id: str) -> Connection | None:
        raise AssertionError(connection_id)

    def create(self, connection: Connection) -> None:
        raise AssertionError(connection)

    def replace(self, connection: Connection) -> None:
        raise AssertionError(connection)

    def remove(self, connection_id: str) -> None:
        raise AssertionError(connection_id)


def register(store: Store, integration_id: str) -> None:
    with store.transaction() as work:
        integration_repository.add(
            work,
            integration_id=integration_id,
            kind="commercetools",
            name=integration_id,
            settings={},
            connection_id=integration_id,
            actor=ADA,
            with_credentials=False,
            tested=True,
        )


def sellable(store: Store, sku: str) -> int | None:
    with store.transaction() as work:
        try:
            return inventory_repository.get(work, sku).available
        except NotFound:
            return None


@pytest.fixture
def registry(store: Store, hub_dsn: str) -> Store:
    """Two integrations that report one sku each, and both a third one."""
    publish(
        store,
        stock("A", 1, 5),
        *(
            msgspec.structs.replace(event, source="/integrations/outlet")
            for event in (stock("B", 1, 7), stock("C", 1, 2, supply_channel="outlet"))
        ),
        stock("C", 1, 3, supply_channel="main"),
    )
    with delivery(hub_dsn):
        eventually(lambda: [sellable(store, sku) for sku in "ABC"], [5, 7, 5])
    for name in ("commercetools", "outlet"):
        register(store, name)
    return store


def test_stock_of_a_removed_integration_is_not_sellable(registry: Store) -> None:
    """The hub no longer learns of sales in other channels, so a customer could buy stock that is gone."""
    service.remove(registry, NoBook(), "outlet", version=None, actor=ADA)

    assert [sellable(registry, sku) for sku in "ABC"] == [5, None, 3]


def test_added_again_it_counts_at_once(registry: Store) -> None:
    """Its sync finds nothing changed, and publishes no event."""
    service.remove(registry, NoBook(), "outlet", version=None, actor=ADA)
    register(registry, "outlet")

    assert [sellable(registry, sku) for sku in "ABC"] == [5, 7, 5]


def test_the_model_is_still_what_the_events_make_of_it(registry: Store) -> None:
    """A rebuild reads events alone, which know of no registry."""
    service.remove(registry, NoBook(), "outlet", version=None, actor=ADA)

    found = inventory_service.rebuild(registry, replace=True, actor=ADA)

    assert found.differences == 0
    assert [sellable(registry, sku) for sku in "ABC"] == [5, None, 3]


def test_a_removed_integration_is_not_read(registry: Store) -> None:
    """Its connection may still be there, from the environment; what it would bring is not for sale."""
    service.remove(registry, NoBook(), "outlet", version=None, actor=ADA)

    with pytest.raises(NotFound, match="was removed: nothing is read until it is added again"):
        find_active(registry, "outlet")
    assert find_active(registry, "never_registered") is None
    register(registry, "outlet")
    assert find_active(registry, "outlet") is not None


def test_an_integration_that_was_never_registered_is_no_removed_one(store: Store, hub_dsn: str) -> None:
    """Connections of the environment are synced without the registry."""
    publish(store, stock("A", 1, 5))
    with delivery(hub_dsn):
        eventually(lambda: sellable(store, "A"), 5)
