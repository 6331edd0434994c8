"""Every valid product, price and stock level of a real shop lands whole, over REST and GraphQL; the others are refused."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from crossdock.commerce.inventory import repository as availability
from crossdock.commerce.inventory.subscribers import apply
from crossdock.core.settings import settings
from crossdock.connectors.commercetools.client import Api, Commercetools
from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.model import STOCK_CHANGED
from crossdock.events.store import Selection
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sync import Systems, extract, load, records, validate
from crossdock.sync.landing import Landing
from crossdock.sync.model import Report, SyncRequest
from crossdock.sync.stream import Stream
from crossdock.sync.validate_rows import validate_rows
from tests.connectors.commercetools import orders_of_a_shop as orders_of
from tests.connectors.commercetools.catalogue_of_a_shop import (
    Json,
    cents,
    fine,
    price,
    product,
    standalone,
    stock,
    variant,
)
from tests.shop import QUICK, query
from tests.streams import INVENTORY, ORDERS, PRICES, PRODUCTS

GROUP = {"typeId": "customer-group", "id": "wholesale"}
CHANNEL = {"typeId": "channel", "id": "outlet"}
DISCOUNT = {"typeId": "product-discount", "id": "summer"}

COLLECTIONS = {
    PRODUCTS.id: "product-projections",
    PRICES.id: "standalone-prices",
    INVENTORY.id: "inventory",
    ORDERS.id: "orders",
}


@pytest.fixture
def shop() -> Iterator[FakeRetailer]:
    with FakeRetailer(inventory=0, products=0, orders=0, customers=0, flaws=0) as empty:
        yield empty


@pytest.fixture(params=list(Api), ids=str)
def api(request: pytest.FixtureRequest) -> Api:
    found: Api = request.param
    return found


@pytest.fixture
def systems(api: Api, shop: FakeRetailer, store: Store, tmp_path: Path) -> Systems:
    return Systems(connected(shop, api), store, Landing(str(tmp_path)))


def connected(shop: FakeRetailer, api: Api) -> Commercetools:
    return Commercetools.signed_in(
        shop.url,
        shop.project,
        client_id=shop.client_id,
        secret=shop.client_secret,
        scope=f"view_products:{shop.project} view_orders:{shop.project}",
        limits=QUICK,
        api=api,
    )


def sync(shop: FakeRetailer, systems: Systems, stream: Stream, *documents: Json, **request: Any) -> Report:
    for document in documents:
        shop.state.collection(COLLECTIONS[stream.id]).put(document)
    asked = SyncRequest(**{"full": True, **request})
    report = load(stream, systems, validate(stream, systems, extract(stream, systems, asked)))
    _deliver(systems.store)
    return report


def _deliver(store: Store) -> None:
    """Hand the stock events to their subscriber, as the delivery does."""
    with store.transaction() as work:
        apply(work, event_store.select(work, Selection(types=(STOCK_CHANGED,)), limit=1_000))


def refused_by(systems: Systems) -> list[tuple[str, str]]:
    found = query(systems.store, "SELECT failures FROM quarantine_item WHERE state = 'open' ORDER BY item_id")
    return [(failure["rule"], failure["value"]) for (failures,) in found for failure in failures]


def causes(stream: Stream, record: Json) -> list[tuple[str, str]]:
    body = json.dumps({"count": 1, "results": [record]}).encode()
    return [(one.rule, one.value) for rejected in validate_rows(stream, [body]).rejected for one in rejected.failures]


#: Case → a product that a shop may have.
VALID: dict[str, Json] = {
    "all that a product may have": product(),
    "no key": product(key=None),
    "no sku": product(variant(price(), sku=None)),
    "no prices": product(variant()),
    "no master variant: the modular catalogue": product(masterVariant=None),
    "not said whether it is published": product(published=None),
    "a name that is blank in one language": product(name={"en": " ", "de": "Hose"}),
    "a price for a group first": product(variant(price(1900, customerGroup=GROUP), price())),
    "a price of nothing": product(variant(price(0))),
    "a price finer than a cent": product(variant(price(fine(1, 12345, 6)))),
    "a price in Chilean units": product(variant(price(fine(35000123, 3500012345, 6, "CLF")))),
    "a price in yen": product(variant(price(cents(500, "JPY", 0)))),
    "a car in rupiah": product(variant(price(cents(150_000_000_000, "IDR")))),
    "a price for ever": product(variant(price(validUntil="9999-12-31T23:59:59.999Z"))),
    "a sku of 256 characters": product(variant(price(), sku="K" * 256)),
    "two skus that differ in case": product(variant(sku="abc-1"), variant(sku="ABC-1", number=2)),
    "a sku of decomposed letters": product(variant(sku="BA\u0308R-19")),
    "one price in two variants": product(variant(price()), variant(price(), sku="SKU-2", number=2)),
}


def test_every_valid_product_is_in_the_hub(shop: FakeRetailer, systems: Systems) -> None:
    documents = [
        {**record, "id": f"product-{number}", **({"key": f"key-{number}"} if "key" in record else {})}
        for number, record in enumerate(VALID.values())
    ]
    for number, document in enumerate(documents):
        for one in (document.get("masterVariant"), *document["variants"]):
            if one and one.get("sku") == "SKU-1":
                one["sku"] = f"SKU-{number}"

    report = sync(shop, systems, PRODUCTS, *documents)

    assert refused_by(systems) == []
    assert report.counts.inserted == len(documents)
    at_source = sum(
        len(one["prices"])
        for document in documents
        for one in (document.get("masterVariant"), *document["variants"])
        if one
    )
    assert query(systems.store, "SELECT count(*) FROM prices") == [(at_source,)]


def shown(systems: Systems) -> tuple[Any, ...]:
    (row,) = query(
        systems.store, "SELECT price, price_minor, price_currency, price_exponent FROM product ORDER BY id LIMIT 1"
    )
    return row


def test_the_price_that_is_shown_is_the_one_for_everybody_not_the_first(shop: FakeRetailer, systems: Systems) -> None:
    sync(shop, systems, PRODUCTS, product(variant(price(1900, customerGroup=GROUP), price())))

    assert shown(systems) == ("25.00", 2500, "EUR", 2)
    assert query(systems.store, "SELECT customer_group, amount_minor FROM prices ORDER BY amount_minor") == [
        ("wholesale", 1900),
        (None, 2500),
    ]


def test_a_price_keeps_all_that_makes_it_that_price(shop: FakeRetailer, systems: Systems) -> None:
    """Scope, window, tiers and discount: without them, five prices of one SKU are one price five times."""
    policy = {"typeId": "recurrence-policy", "id": "monthly"}
    prices = [
        price(),
        price(2600, channel=CHANNEL),
        price(2400, country="DE", customerGroup=GROUP),
        price(
            2300,
            country="DE",
            validFrom="2026-12-01T00:00:00.000Z",
            validUntil="2026-12-24T00:00:00.000Z",
            tiers=[{"minimumQuantity": 10, "value": fine(2000, 2000123, 5)}],
        ),
        price(2501, country="AT", discounted={"value": cents(1999), "discount": DISCOUNT}),
        price(2000, recurrencePolicy=policy),
    ]
    sync(shop, systems, PRODUCTS, product(variant(*prices)))

    columns = "country, customer_group, channel, recurrence_policy, discounted_minor, discount, tiers"
    found = {row[0]: row[1:] for row in query(systems.store, f"SELECT amount_minor, {columns} FROM prices")}  # noqa: S608
    assert found == {
        2500: (None, None, None, None, None, None, None),
        2600: (None, None, "outlet", None, None, None, None),
        2400: ("DE", "wholesale", None, None, None, None, None),
        2300: (
            *("DE", None, None, None, None, None),
            [{"minimum_quantity": 10, "amount": "20.00123", "amount_minor": 2000}],
        ),
        2501: ("AT", None, None, None, 1999, "summer", None),
        2000: (None, None, None, "monthly", None, None, None),
    }
    window = query(systems.store, "SELECT valid_from, valid_until FROM prices WHERE amount_minor = 2300")
    assert window == [
        (datetime.fromisoformat("2026-12-01T00:00:00Z"), datetime.fromisoformat("2026-12-24T00:00:00Z"))
    ]
    assert shown(systems)[1] == 2500


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (fine(1, 12345, 6), ("0.012345", 1, "EUR", 2)),
        (fine(35000123, 3500012345, 6, "CLF"), ("3500.012345", 35000123, "CLF", 4)),
        (cents(35000123, "CLF", 4), ("3500.0123", 35000123, "CLF", 4)),
        (cents(500, "JPY", 0), ("500", 500, "JPY", 0)),
        (cents(1234, "KWD", 3), ("1.234", 1234, "KWD", 3)),
    ],
    ids=str,
)
def test_amounts_are_exact_and_minor_units_follow_iso_4217(
    shop: FakeRetailer, systems: Systems, value: Json, expected: tuple[Any, ...]
) -> None:
    sync(shop, systems, PRODUCTS, product(variant(price(value))))
    assert shown(systems) == expected


def test_an_identity_is_the_platforms_own(shop: FakeRetailer, systems: Systems) -> None:
    """Products, prices, stock and order lines meet by it, and `--key` finds it at the source."""
    sku = "ba\u0308r-19"
    sync(shop, systems, PRODUCTS, product(variant(price(), sku=sku), key="a\u0308"))
    sync(shop, systems, INVENTORY, stock(9, sku=sku))
    sync(shop, systems, ORDERS, orders_of.order(orders_of.line(sku=sku), total=5000))

    joined = query(
        systems.store,
        "SELECT p.key, l.sku FROM product p JOIN inventory i ON i.sku = p.master_sku"
        " JOIN sales_order_line l ON l.sku = i.sku JOIN prices ON prices.sku = l.sku",
    )
    assert joined == [("a\u0308", sku)]
    assert sync(shop, systems, INVENTORY, full=False, keys=(sku,)).counts.unchanged == 1
    assert sync(shop, systems, PRODUCTS, full=False, keys=("a\u0308",)).counts.unchanged == 1


def test_a_product_without_a_key_is_known_by_its_id(shop: FakeRetailer, systems: Systems) -> None:
    sync(shop, systems, PRODUCTS, product(key=None))

    ((key, lineage),) = query(systems.store, "SELECT key, lineage FROM product")
    assert key == "product-1"
    assert lineage["key"]["by"] == ["ID of the product, which has no key"]


def test_a_name_that_is_blank_in_one_language_is_left_out(shop: FakeRetailer, systems: Systems) -> None:
    sync(shop, systems, PRODUCTS, product(name={"en": " ", "de": "Hose"}))
    assert query(systems.store, "SELECT name FROM product") == [({"de": "Hose"},)]


def test_a_catalogue_model_that_is_not_read_is_said_once_and_refuses_nothing(
    shop: FakeRetailer, systems: Systems
) -> None:
    report = sync(shop, systems, PRODUCTS, *(product(id=f"p-{n}", key=f"p-{n}", masterVariant=None) for n in range(3)))

    assert (report.counts.inserted, report.counts.rejected) == (3, 0)
    ((warnings,),) = query(systems.store, "SELECT warnings FROM sync_run")
    assert [(one["rule"], one["records"]) for one in warnings] == [("product_has_variants", 3)]
    assert "modular catalogue" in warnings[0]["message"]


def test_drift_is_silent_on_what_the_platform_documents(shop: FakeRetailer, systems: Systems) -> None:
    sync(shop, systems, PRODUCTS, product(key=None, priceMode="Embedded", state={"typeId": "state", "id": "s"}))
    sync(shop, systems, PRICES, standalone(key="k", country="DE"))
    sync(shop, systems, INVENTORY, stock(1, minCartQuantity=1, stockLevels={"safetyStock": 2}))

    assert query(systems.store, "SELECT DISTINCT drift FROM sync_run") == [(None,)]
