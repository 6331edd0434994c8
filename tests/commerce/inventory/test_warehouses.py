"""Which stock an order is sold from, as it is declared."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from crossdock.commerce.inventory import reservation_repository, reservations, warehouses
from crossdock.commerce.inventory.repository import StockState
from crossdock.commerce.inventory.reservations import Held, OutOfStock, Reserving
from crossdock.commerce.inventory.warehouses import Declared, ReservedBy, WarehouseInUse
from crossdock.core.errors import NotFound
from crossdock.db.database import Store
from crossdock.integrations import repository as registry
from tests.shop import query

OTTO = "airflow:otto"


@pytest.fixture(autouse=True)
def _integrations(store: Store) -> None:
    """A shop and a warehouse system, each of which says its stock."""
    with store.transaction() as work:
        for name in ("shop_eu", "wms"):
            registry.add(
                work,
                integration_id=name,
                kind="commercetools",
                name=name,
                settings={},
                connection_id=name,
                actor=OTTO,
                with_credentials=False,
                tested=False,
            )


def say(store: Store, integration: str, units: int, *, sku: str = "mug", channel: str | None = "berlin") -> None:
    state = StockState(f"/integrations/{integration}", f"{integration}-1", sku, channel, units, 1, datetime.now(UTC))
    with store.transaction() as work:
        reservation_repository.set_on_hand(work, [state])


def reserve(store: Store, units: int, order: str = "o-1", *, country: str | None = None) -> Held | OutOfStock:
    with store.transaction() as work:
        return reservations.reserve(work, order, {"mug": units}, Reserving(), country=country)


def places(held: Held | OutOfStock) -> list[str]:
    assert isinstance(held, Held)
    return [part.warehouse_id.removeprefix("/integrations/") for part in held.parts]


def test_two_integrations_that_say_the_stock_of_one_warehouse_sell_it_once(store: Store) -> None:
    say(store, "shop_eu", 5)
    say(store, "wms", 6, channel=None)
    warehouses.declare(store, "shop_eu:berlin", Declared(same_as="wms"), actor=OTTO)

    assert isinstance(reserve(store, 7), OutOfStock)
    assert places(reserve(store, 6)) == ["wms"]


def test_the_declared_priority_country_and_cost_decide(store: Store) -> None:
    say(store, "shop_eu", 5)
    say(store, "wms", 5, channel=None)
    warehouses.declare(store, "wms", Declared(priority=1, country="FR"), actor=OTTO)
    assert places(reserve(store, 1, "o-1", country="DE")) == ["wms"]

    warehouses.declare(store, "wms", Declared(country="FR"), actor=OTTO)
    warehouses.declare(store, "shop_eu:berlin", Declared(country="DE", parcel_cost_minor=900), actor=OTTO)
    assert places(reserve(store, 1, "o-2", country="DE")) == ["shop_eu:berlin"]
    assert places(reserve(store, 1, "o-3", country="AT")) == ["wms"]


def test_a_sku_that_a_platform_reserves_anywhere_is_held_by_it_alone(store: Store) -> None:
    say(store, "shop_eu", 5)
    say(store, "wms", 5, channel=None)
    warehouses.declare(store, "shop_eu:berlin", Declared(reserved_by=ReservedBy.PLATFORM), actor=OTTO)
    held = reserve(store, 1)

    assert places(held) == []
    assert isinstance(held, Held)
    assert held.by_platform == ["mug"]


def test_a_platform_that_was_removed_reserves_nothing_any_more(store: Store) -> None:
    say(store, "shop_eu", 5)
    say(store, "wms", 5, channel=None)
    warehouses.declare(store, "shop_eu:berlin", Declared(reserved_by=ReservedBy.PLATFORM), actor=OTTO)
    query(store, "INSERT INTO removed_integration (integration_id) VALUES ('shop_eu') RETURNING 1")

    assert places(reserve(store, 1)) == ["wms"]


def test_a_warehouse_is_not_told_to_be_another_one_while_its_units_are_held_or_sold(store: Store) -> None:
    """The other one's figure does not subtract them."""
    say(store, "shop_eu", 5)
    reserve(store, 2)
    say(store, "wms", 5, channel=None)

    with pytest.raises(WarehouseInUse, match="2 units of shop_eu:berlin are held or sold"):
        warehouses.declare(store, "shop_eu:berlin", Declared(same_as="wms"), actor=OTTO)


def test_what_counts_is_named_directly(store: Store) -> None:
    """A chain, or a circle, would leave nothing that is sold from."""
    say(store, "shop_eu", 5)
    say(store, "wms", 5, channel=None)
    warehouses.declare(store, "shop_eu:berlin", Declared(same_as="wms"), actor=OTTO)

    for double, other in (("wms", "shop_eu:berlin"), ("wms", "wms"), ("shop_eu:lyon", "shop_eu:berlin")):
        with pytest.raises(
            WarehouseInUse, match=r"is itself declared to be another warehouse|Other warehouses are declared to be"
        ):
            warehouses.declare(store, double, Declared(same_as=other), actor=OTTO)


def test_a_warehouse_can_be_declared_before_its_stock_is_heard_of_but_not_of_an_unknown_integration(
    store: Store,
) -> None:
    warehouses.declare(store, "shop_eu:berlin", Declared(reserved_by=ReservedBy.PLATFORM), actor=OTTO)
    say(store, "shop_eu", 5)

    assert warehouses.get(store, "shop_eu:berlin").reserved_by is ReservedBy.PLATFORM
    with pytest.raises(NotFound, match="There is no integration 'acme', which would say the stock of acme:berlin"):
        warehouses.declare(store, "acme:berlin", Declared(), actor=OTTO)
    with pytest.raises(NotFound, match="There is no warehouse"):
        warehouses.declare(store, "shop_eu:berlin", Declared(same_as="wms"), actor=OTTO)
