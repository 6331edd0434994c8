"""Every valid product, price and stock level of a real shop lands whole, over REST and GraphQL; the others are refused."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crossdock.commerce.inventory import repository as availability
from crossdock.commerce.inventory.subscribers import apply
from crossdock.connectors.commercetools import customers
from crossdock.connectors.commercetools.client import Api
from crossdock.core.settings import settings
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
from tests.shop import connect, query
from tests.streams import INVENTORY, ORDERS, PRICES, PRODUCTS, STREAMS

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
    return Systems(connect(shop, api=api), store, Landing(str(tmp_path)))


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
    found = {row[0]: row[1:] for row in query(systems.store, f"SELECT amount_minor, {columns} FROM prices")}
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
    assert window == [(datetime.fromisoformat("2026-12-01T00:00:00Z"), datetime.fromisoformat("2026-12-24T00:00:00Z"))]
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


def test_prices_of_two_products_never_have_one_id(shop: FakeRetailer, systems: Systems) -> None:
    """Joined without care, `1/z` in `q` and `z` in `q/1` are one: the second product stopped the stream."""
    of_q, of_q_1 = ({"id": name, "value": cents(amount)} for name, amount in (("1/z", 1), ("z", 2)))
    one = product(variant(of_q), id="q", key="k1")
    other = product(variant(of_q_1), id="q/1", key="k2")

    assert sync(shop, systems, PRODUCTS, one, other).counts.inserted == 2
    assert query(systems.store, "SELECT id, amount_minor FROM prices ORDER BY amount_minor") == [
        ("q/1/1%2Fz", 1),
        ("q%2F1/1/z", 2),
    ]


@pytest.mark.parametrize("stream", [*STREAMS.values(), customers.CUSTOMERS], ids=lambda stream: stream.dataset.name)
def test_every_integer_of_a_record_has_bounds(stream: Stream) -> None:
    """One without them could be longer than its column, or be so many digits of a price."""
    unbounded = [place for place, kind in _types(msgspec.inspect.type_info(stream.record_type), "") if _is_open(kind)]

    assert unbounded == []


def _is_open(kind: Any) -> bool:
    return isinstance(kind, msgspec.inspect.IntType) and (kind.ge is None or kind.le is None)


def _types(kind: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield *kind* and all types inside it."""
    yield place, kind
    for name in ("type", "item_type", "key_type", "value_type"):
        if isinstance(inner := getattr(kind, name, None), msgspec.inspect.Type):
            yield from _types(inner, place)
    for option in getattr(kind, "types", ()):
        yield from _types(option, place)
    for field in getattr(kind, "fields", ()):
        yield from _types(field.type, f"{place}.{field.name}")


LONG = "x" * 513


@pytest.mark.parametrize(
    ("record", "column"),
    [
        (product(variant({**price(), "id": LONG})), "prices_unstorable"),
        (product(variant(price()), variant(price(), sku=LONG, number=2)), "prices_unstorable"),
        (product(key=LONG), "key"),
    ],
    ids=["price's id", "sku", "key"],
)
def test_a_text_that_no_index_holds_is_refused_whatever_the_rules_are(record: Json, column: str) -> None:
    """A merchant may lower the rules of keys and SKUs."""
    lowered = replace(
        PRODUCTS, levels=dict.fromkeys(("key_is_present", "key_is_well_formed", "skus_are_well_formed"), "off")
    )
    body = json.dumps({"count": 1, "results": [record]}).encode()
    (rejected,) = validate_rows(lowered, [body]).rejected
    assert [one.column for one in rejected.failures] == [column]


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


#: Fault → what it does to a product of two variants with two prices each; the rule that refuses it, and the place.
FAULTS: dict[str, tuple[Any, tuple[str, str]]] = {
    "a second currency in small letters": (
        lambda p: p["masterVariant"]["prices"][1]["value"].update(currencyCode="eur"),
        ("currency_is_iso_4217", "variant 1, price 2: eur"),
    ),
    "a currency that does not exist, in the second variant": (
        lambda p: p["variants"][0]["prices"][0]["value"].update(currencyCode="EUX"),
        ("currency_is_iso_4217", "variant 2, price 1: EUX"),
    ),
    "a currency with a line feed": (
        lambda p: p["masterVariant"]["prices"][0]["value"].update(currencyCode="EUR\n"),
        ("currency_is_iso_4217", r"variant 1, price 1: EUR\n"),
    ),
    "a tier in another currency": (
        lambda p: p["variants"][0]["prices"][1].update(tiers=[{"minimumQuantity": 2, "value": cents(1, "USD")}]),
        ("currencies_agree", "variant 2, price 2, tier 1: USD"),
    ),
    "a price below zero": (
        lambda p: p["variants"][0]["prices"][1]["value"].update(centAmount=-1),
        ("prices_are_plausible", "variant 2, price 2: -1 EUR"),
    ),
    "a price of two billion": (
        lambda p: p["masterVariant"]["prices"][0]["value"].update(centAmount=200_000_000_000),
        ("prices_are_plausible", "variant 1, price 1: 200000000000 EUR"),
    ),
    "a discount below zero": (
        lambda p: p["masterVariant"]["prices"][0].update(discounted={"value": cents(-5), "discount": DISCOUNT}),
        ("prices_are_plausible", "variant 1, price 1, discount: -5 EUR"),
    ),
    "a tab and a line feed in the second sku": (
        lambda p: p["variants"][0].update(sku="SKU\t24\n2"),
        ("skus_are_well_formed", r"variant 2: SKU\t24\n2"),
    ),
    "a sku that is too long": (
        lambda p: p["variants"][0].update(sku="x" * 257),
        ("skus_are_well_formed", ("variant 2: " + "x" * 257)[:80]),
    ),
    "one sku on two variants": (lambda p: p["variants"][0].update(sku="SKU-1"), ("skus_are_unique", "SKU-1")),
    "one sku on two variants, but for a blank": (
        lambda p: p["variants"][0].update(sku=" SKU-1"),
        ("skus_are_unique", "SKU-1"),
    ),
    "one price twice": (
        lambda p: p["variants"][0]["prices"].append(p["variants"][0]["prices"][0]),
        ("prices_are_unique", "product-1/2/price-2500-0"),
    ),
    "no name": (lambda p: p.update(name={"en": " "}), ("name_is_present", "0")),
    "a name of nothing that can be seen": (lambda p: p.update(name={"en": "\u200b"}), ("name_is_present", "0")),
    "cents that are not the precise amount": (
        lambda p: p["variants"][0]["prices"][1].update(value=fine(10, 10**17, 3)),
        ("prices_are_plausible", "variant 2, price 2: 10 EUR is not 100000000000000.000"),
    ),
    "a precise amount below zero": (
        lambda p: p["variants"][0]["prices"][1].update(value=fine(0, -1, 3)),
        ("prices_are_plausible", "variant 2, price 2: 0 EUR"),
    ),
    "one id on two variants": (
        lambda p: (p["variants"][0].update(id=1), p["variants"][0]["prices"].clear()),
        ("variants_are_unique", "1"),
    ),
    "a window that ends before it begins": (
        lambda p: p["variants"][0]["prices"][1].update(
            validFrom="2026-02-01T00:00:00.000Z", validUntil="2026-01-01T00:00:00.000Z"
        ),
        ("windows_are_in_order", "variant 2, price 2: 2026-02-01 to 2026-01-01"),
    ),
    "a tier from no quantity": (
        lambda p: p["variants"][0]["prices"][1].update(tiers=[{"minimumQuantity": 0, "value": cents(1)}]),
        ("tiers_are_distinct", "variant 2, price 2, tier 1: from 0"),
    ),
    "two tiers from one quantity": (
        lambda p: p["variants"][0]["prices"][1].update(tiers=[{"minimumQuantity": 5, "value": cents(1)}] * 2),
        ("tiers_are_distinct", "variant 2, price 2, tier 2: from 5"),
    ),
    "a country in small letters": (
        lambda p: p["variants"][0]["prices"][1].update(country="de"),
        ("countries_are_known", "variant 2, price 2: de"),
    ),
    "a country of 12,000 letters": (
        lambda p: p["variants"][0]["prices"][1].update(country="D" * 12_000),
        ("countries_are_known", "variant 2, price 2: " + "D" * 20),
    ),
}


def two_variants() -> Json:
    prices = (price(), price(country="DE"))
    return json.loads(json.dumps(product(variant(*prices), variant(*prices, sku="SKU-2", number=2))))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", FAULTS)
def test_a_seeded_fault_is_refused_by_its_rule_with_its_place(name: str) -> None:
    """A rule that looks at the first of many passes all others unseen."""
    record = two_variants()
    assert causes(PRODUCTS, record) == []
    change, expected = FAULTS[name]
    change(record)
    assert causes(PRODUCTS, record) == [expected]


def test_a_refused_product_waits_in_quarantine_with_its_prices(shop: FakeRetailer, systems: Systems) -> None:
    record = two_variants()
    record["variants"][0]["sku"] = "SKU\t24\n2"
    assert sync(shop, systems, PRODUCTS, record).counts.rejected == 1

    assert refused_by(systems) == [("skus_are_well_formed", r"variant 2: SKU\t24\n2")]
    assert query(systems.store, "SELECT count(*) FROM prices") == [(0,)]


class TestPricesOfAProduct:
    """They are rows that come, change and go with the product's version, in its transaction."""

    def test_a_price_that_stays_keeps_its_version_and_tells_nothing(self, shop: FakeRetailer, systems: Systems) -> None:
        sync(shop, systems, PRODUCTS, product(variant(price(), price(1900, country="DE"))))
        changed = product(variant(price(), price(1900, country="AT")), version=4)
        changed["masterVariant"]["prices"][1]["id"] = price(1900, country="DE")["id"]
        sync(shop, systems, PRODUCTS, changed)

        assert query(systems.store, "SELECT amount_minor, country, version FROM prices ORDER BY 1") == [
            (1900, "AT", 4),
            (2500, None, 3),
        ]
        assert query(systems.store, "SELECT amount_minor, country, version FROM prices_history") == [(1900, "DE", 3)]
        assert events(systems) == [(1900, "DE", True, 3), (2500, None, True, 3), (1900, "AT", True, 4)]

    def test_a_price_that_is_gone_goes_into_history_and_its_event_says_so(
        self, shop: FakeRetailer, systems: Systems
    ) -> None:
        sync(shop, systems, PRODUCTS, product(variant(price(), price(1900, country="DE"))))
        sync(shop, systems, PRODUCTS, product(variant(price()), version=4))

        assert query(systems.store, "SELECT amount_minor FROM prices") == [(2500,)]
        assert query(systems.store, "SELECT amount_minor, active FROM prices_history") == [(1900, True)]
        assert events(systems)[-1] == (1900, "DE", False, 4)

    def test_an_older_version_changes_no_price(self, shop: FakeRetailer, systems: Systems) -> None:
        sync(shop, systems, PRODUCTS, product(variant(price()), version=4))
        report = sync(shop, systems, PRODUCTS, product(variant(price(100)), version=3))

        assert report.counts.stale == 1
        assert query(systems.store, "SELECT amount_minor, version FROM prices") == [(2500, 4)]

    def test_another_integrations_prices_are_left_alone(self, shop: FakeRetailer, systems: Systems) -> None:
        """A shop that was copied has the same IDs."""
        sync(shop, systems, PRODUCTS, product())
        sync(shop, systems, _of_other(PRODUCTS), product(variant(price(1)), version=9))

        assert query(systems.store, "SELECT integration, amount_minor FROM prices ORDER BY 1") == [
            ("commercetools", 2500),
            ("other", 1),
        ]

    def test_standalone_prices_are_rows_beside_them_and_are_counted_by_themselves(
        self, shop: FakeRetailer, systems: Systems
    ) -> None:
        """A full read of few standalone prices is not on hold because products have many."""
        many = [price(100 + n, country="DE", validFrom=f"20{n + 10}-01-01T00:00:00.000Z") for n in range(9)]
        sync(shop, systems, PRODUCTS, product(variant(*many)))
        first = sync(shop, systems, PRICES, standalone(2400, country="DE", customerGroup=GROUP, active=False))
        second = sync(shop, systems, PRICES)

        assert (first.counts.inserted, second.counts.unchanged) == (1, 1)
        columns = "product_id, sku, amount, country, customer_group, active"
        found = query(systems.store, f"SELECT {columns} FROM prices WHERE product_id IS NULL")
        assert found == [(None, "SKU-1", "24.00", "DE", "wholesale", False)]
        assert query(systems.store, "SELECT count(*) FROM prices") == [(10,)]


def _of_other(stream: Stream) -> Stream:
    from crossdock.connectors.commercetools.products import PRODUCTS as DECLARED  # noqa: PLC0415

    assert stream.dataset is DECLARED.dataset
    COLLECTIONS["other.products"] = COLLECTIONS[stream.id]
    return DECLARED.of("other")


def events(systems: Systems) -> list[tuple[Any, ...]]:
    return query(
        systems.store,
        "SELECT (data->>'amount_minor')::int, data->>'country', (data->>'active')::bool, (data->>'version')::int"
        " FROM event WHERE type = 'crossdock.price.changed'"
        " ORDER BY (data->>'version')::int, data->>'country' NULLS LAST",
    )


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"sku": ""}, "sku_is_present"),
        ({"sku": "A\nB"}, "sku_is_well_formed"),
        ({"value": cents(100, "eur")}, "currency_is_iso_4217"),
        ({"value": cents(-1)}, "prices_are_plausible"),
        ({"tiers": [{"minimumQuantity": 2, "value": cents(-1)}]}, "prices_are_plausible"),
        ({"tiers": [{"minimumQuantity": 2, "value": cents(1, "USD")}]}, "currencies_agree"),
        ({"validFrom": "2026-02-01T00:00:00.000Z", "validUntil": "2026-01-01T00:00:00.000Z"}, "window_is_in_order"),
        ({"tiers": [{"minimumQuantity": 0, "value": cents(1)}]}, "tiers_are_distinct"),
        ({"value": fine(10, 10**17, 3)}, "prices_are_plausible"),
        ({"country": "de"}, "countries_are_known"),
    ],
)
def test_a_standalone_price_that_breaks_a_rule_is_refused_by_it(changes: Json, rule: str) -> None:
    assert causes(PRICES, standalone()) == []
    assert [name for name, _ in causes(PRICES, {**standalone(), **changes})] == [rule]


@pytest.mark.parametrize("stream", [PRODUCTS, PRICES], ids=lambda stream: stream.dataset.name)
def test_a_discount_that_raises_a_price_only_warns(stream: Stream) -> None:
    """The platform allows it, and it is what customers pay."""
    raised = {"discounted": {"value": cents(9999), "discount": DISCOUNT}}
    record = product(variant(price(**raised))) if stream is PRODUCTS else {**standalone(), **raised}
    content = validate_rows(stream, [json.dumps({"count": 1, "results": [record]}).encode()])
    assert content.rejected == ()
    assert [one.rule for one in content.warned] == ["discounts_lower_the_price"]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({}, None),
        ({"currency": "EUR"}, 2500),
        ({"currency": "USD"}, 2900),
        ({"currency": "EUR", "country": "DE"}, 2400),
        ({"currency": "EUR", "country": "AT"}, 2500),
        ({"currency": "EUR", "country": "DE", "customer_group": "wholesale"}, 1900),
        ({"currency": "EUR", "channel": "outlet"}, 1500),
        ({"currency": "GBP"}, None),
    ],
    ids=str,
)
def test_a_declared_scope_chooses_the_price_that_is_shown(
    scope: Json, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a currency, prices in two of them cannot be compared; what is past or of a subscription is for nobody here."""
    prices = [
        price(1900, customerGroup=GROUP),
        price(),
        price(cents(2900, "USD")),
        price(2400, country="DE"),
        price(2000, country="DE", validUntil="2020-01-01T00:00:00.000Z"),
        price(1500, channel=CHANNEL),
        price(1, recurrencePolicy={"typeId": "recurrence-policy", "id": "monthly"}),
    ]
    monkeypatch.setenv("HUB_SHOWN_PRICES", json.dumps({"commercetools": scope, "*": {"currency": "JPY"}}))
    settings.cache_clear()
    try:
        body = json.dumps({"count": 1, "results": [product(variant(*prices))]}).encode()
        (row,) = validate_rows(PRODUCTS, [body]).accepted.to_pylist()
    finally:
        monkeypatch.undo()
        settings.cache_clear()

    assert row["price_minor"] == expected


def test_a_full_read_chooses_the_shown_price_again(
    shop: FakeRetailer, systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scope is declared anew, or a window opens: neither changes the product's version."""
    sync(shop, systems, PRODUCTS, product(variant(price(), price(2400, country="DE"))))
    assert sync(shop, systems, PRODUCTS).counts.unchanged == 1
    monkeypatch.setenv("HUB_SHOWN_PRICES", '{"*": {"currency": "EUR", "country": "DE"}}')
    settings.cache_clear()
    try:
        assert sync(shop, systems, PRODUCTS).counts.updated == 1
    finally:
        monkeypatch.undo()
        settings.cache_clear()

    assert shown(systems)[1] == 2400
    assert query(systems.store, "SELECT count(*) FROM prices_history") == [(0,)]


def test_an_unpublished_product_is_in_the_hub(shop: FakeRetailer, systems: Systems) -> None:
    """Product projections hide it by default, and the hub would never know of it."""
    sync(shop, systems, PRODUCTS, product(published=False))
    assert query(systems.store, "SELECT published, price_minor FROM product") == [(False, 2500)]


def test_staged_changes_are_not_shown_until_they_are_published(shop: FakeRetailer, systems: Systems) -> None:
    """Customers pay the current price; of a product that is not on sale there is only what is staged."""
    data = {
        name: product()[name] for name in ("name", "slug", "categories", "variants", "attributes", "searchKeywords")
    }
    sides = {
        "current": {**data, "masterVariant": variant(price())},
        "staged": {**data, "masterVariant": variant(price(100))},
    }
    own = {name: product()[name] for name in ("version", "createdAt", "lastModifiedAt", "productType")}
    for number, published in enumerate((True, False)):
        catalogue = {"published": published, "hasStagedChanges": True, **sides}
        shop.state.collection("product-projections").put({"id": f"p-{number}", **own, "masterData": catalogue})

    sync(shop, systems, PRODUCTS)

    assert query(systems.store, "SELECT price_minor FROM product ORDER BY id") == [(2500,), (100,)]


class TestStock:
    def test_what_is_legal_is_in_the_hub(self, shop: FakeRetailer, systems: Systems) -> None:
        documents = [
            stock(-3),
            stock(1, sku="FAR", restockableInDays=9999),
            stock(4, sku="K" * 150),
            stock(5, 0, sku="lower"),
            stock(5, -7, sku="OVERSOLD", supplyChannel=CHANNEL),
        ]
        named = [{**document, "id": f"stock-{number}"} for number, document in enumerate(documents)]
        report = sync(shop, systems, INVENTORY, *named)

        assert refused_by(systems) == []
        assert report.counts.inserted == len(documents)

    @pytest.mark.parametrize(
        ("changes", "rule"),
        [
            ({"availableQuantity": 6}, "available_is_not_above_stock"),
            ({"quantityOnStock": -(10**12), "availableQuantity": -(10**12)}, "stock_is_plausible"),
            ({"restockableInDays": -1}, "restock_days_are_not_negative"),
            ({"sku": "A\nB"}, "sku_is_well_formed"),
            ({"sku": "K" * 257}, "sku_is_well_formed"),
        ],
    )
    def test_what_is_not_is_refused(self, changes: Json, rule: str) -> None:
        assert causes(INVENTORY, stock(5)) == []
        assert rule in [name for name, _ in causes(INVENTORY, {**stock(5), **changes})]

    def test_a_backorder_leaves_nothing_for_sale(self, shop: FakeRetailer, systems: Systems) -> None:
        sync(shop, systems, INVENTORY, stock(5))
        assert available(systems) == (5, 0)
        sync(shop, systems, INVENTORY, stock(-3, version=2))
        assert available(systems) == (0, 0)

    @pytest.mark.parametrize(("old", "new"), [(7, 5), (5, 7)])
    def test_an_entry_that_is_made_anew_replaces_the_old_one(
        self, shop: FakeRetailer, systems: Systems, old: int, new: int
    ) -> None:
        """The platform has one entry per SKU and channel, and tells nobody in a list that the old one is gone."""
        sync(shop, systems, INVENTORY, stock(old))
        shop.state.collection("inventory").remove("stock-1")
        sync(shop, systems, INVENTORY, stock(new, id="stock-0"), allow_shrink=True)
        assert available(systems) == (new, 0)

    def test_entries_of_two_channels_add_up(self, shop: FakeRetailer, systems: Systems) -> None:
        sync(shop, systems, INVENTORY, stock(7), stock(5, id="stock-2", supplyChannel=CHANNEL))
        assert available(systems) == (12, 0)

    def test_two_skus_that_differ_in_blanks_are_not_sold_twice(self, shop: FakeRetailer, systems: Systems) -> None:
        sync(shop, systems, INVENTORY, stock(7), stock(7, id="stock-2", sku=" SKU-1 "))
        assert available(systems) == (7, 0)

    @pytest.mark.parametrize(
        ("waiting", "expected"),
        [
            ({"quantityOnStock": 2, "availableQuantity": 2, "restockableInDays": -1}, 2),
            ({"quantityOnStock": 90, "availableQuantity": 90, "restockableInDays": -1}, 5),
            ({"quantityOnStock": -4, "availableQuantity": -4, "restockableInDays": -1}, 0),
            ({"availableQuantity": "2"}, 0),
        ],
        ids=["less", "more", "below zero", "unreadable"],
    )
    def test_the_lower_figure_counts_while_a_newer_version_waits(
        self, shop: FakeRetailer, systems: Systems, waiting: Json, expected: int
    ) -> None:
        """What waits may well be true, and what it says too much of may be gone."""
        sync(shop, systems, INVENTORY, stock(5))
        assert sync(shop, systems, INVENTORY, {**stock(5, version=2), **waiting}).counts.rejected == 1
        assert available(systems) == (expected, 1)

        sync(shop, systems, INVENTORY, stock(8, version=3))
        assert available(systems) == (8, 0)

    def test_an_older_version_in_quarantine_says_nothing(self, shop: FakeRetailer, systems: Systems) -> None:
        sync(shop, systems, INVENTORY, stock(5, version=3))
        sync(shop, systems, INVENTORY, stock(1, version=2, restockableInDays=-1))
        assert available(systems) == (5, 0)

    def test_a_record_says_which_newer_version_waits(self, shop: FakeRetailer, systems: Systems) -> None:
        sync(shop, systems, INVENTORY, stock(5))
        sync(shop, systems, INVENTORY, stock(1, version=2, restockableInDays=-1))

        rows = records.look_up(systems.store, INVENTORY, "SKU-1")
        (waiting,) = records.waiting(systems.store, INVENTORY, rows)
        assert (waiting.record_id, waiting.version, waiting.cause) == ("stock-1", 2, "restock_days_are_not_negative")
        assert records.waiting(systems.store, PRODUCTS, rows) == []


def available(systems: Systems) -> tuple[int, int]:
    with systems.store.transaction() as work:
        found = availability.get(work, "SKU-1")
    return found.available, found.waiting


EXAMPLES = [
    (PRODUCTS, name)
    for name in ("product", "products", "product-projection", "product-projections", "product-projections-search")
] + [(PRICES, "standalone-price"), (PRICES, "standalone-prices"), (INVENTORY, "inventory")]
DRAFTS = [
    (PRODUCTS, "product-create"),
    (PRODUCTS, "product-update"),
    (PRICES, "standalone-price-create"),
    (PRICES, "standalone-price-update"),
    (INVENTORY, "inventory-create"),
    (INVENTORY, "inventory-update"),
]


def of_vendor(name: str) -> list[Json]:
    folder = os.environ.get("HUB_VENDOR_SPECS")
    if not folder or not Path(folder, "examples").is_dir():
        pytest.skip("the vendor's example documents are not part of the project: set HUB_VENDOR_SPECS to their folder")
    document = json.loads(Path(folder, "examples", f"{name}.json").read_text(encoding="utf-8"))
    found: list[Json] = document.get("results") or [document]
    return found


@pytest.mark.parametrize(("stream", "name"), EXAMPLES, ids=lambda value: getattr(value, "id", value))
def test_every_record_among_the_vendors_examples_loads(stream: Stream, name: str) -> None:
    assert [causes(stream, record) for record in of_vendor(name)] == [[] for _ in of_vendor(name)]


@pytest.mark.parametrize(("stream", "name"), DRAFTS, ids=lambda value: getattr(value, "id", value))
def test_what_a_client_sends_is_no_record(stream: Stream, name: str) -> None:
    assert all(causes(stream, record) for record in of_vendor(name))
