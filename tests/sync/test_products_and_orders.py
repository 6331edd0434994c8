"""Products and orders: mapping, what a merchant refuses, and lines that add up to the last one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crossdock.commerce.inventory.schema import StockLevel
from crossdock.core.errors import BadRequest, HeldForApproval, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.core.money import currency_exponent, decimal_text
from crossdock.db.database import Store
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.simulation import simulate
from crossdock.sync import Systems, extract, load, validate
from crossdock.sync import records as record_store
from crossdock.sync.contract import drift, merged
from crossdock.sync.landing import Landing
from crossdock.sync.lineage import NORMAL_FORM, TRIM, Lineage, Step
from crossdock.sync.model import Report, RunState, SyncRequest
from crossdock.sync.quarantine import repository as quarantine_repository
from crossdock.sync.quarantine import service as quarantine_service
from crossdock.sync.validate_rows import validate_rows
from tests.shop import connect, query
from tests.streams import ORDERS, PRODUCTS, stream_of
from tests.sync.quarantine.selected import selected

FULL = SyncRequest(full=True)
INSTANT = "2026-05-01T10:00:00.000Z"


@pytest.fixture
def shop() -> Iterator[FakeRetailer]:
    """A retailer with 120 products, 150 orders and 60 stock levels, spotless."""
    with FakeRetailer(seed=11, inventory=60, products=120, orders=150, customers=40, flaws=0) as open_shop:
        yield open_shop


@pytest.fixture
def systems(shop: FakeRetailer, store: Store, tmp_path: Path) -> Systems:
    return Systems(connect(shop, page_records=40), store, Landing(str(tmp_path)), overlap=timedelta(0))


def run(dataset: str, systems: Systems, request: SyncRequest = FULL) -> Report:
    stream = stream_of(f"commercetools.{dataset}")
    return load(stream, systems, validate(stream, systems, extract(stream, systems, request)))


def order(**changes: Any) -> dict[str, Any]:
    money = {"type": "centPrecision", "currencyCode": "GBP", "fractionDigits": 2}
    return {
        "id": "o-1",
        "version": 1,
        "orderNumber": "489434",
        "orderState": "Complete",
        "createdAt": INSTANT,
        "lastModifiedAt": INSTANT,
        "totalPrice": {**money, "centAmount": 2 * 695},
        "lineItems": [line(quantity=2)],
        **changes,
    }


def line(**changes: Any) -> dict[str, Any]:
    money = {"type": "centPrecision", "currencyCode": "GBP", "fractionDigits": 2}
    quantity = changes.get("quantity", 1)
    minor = changes.pop("minor", 695)
    return {
        "id": "l-1",
        "name": {"en": "CHRISTMAS GLASS BALL"},
        "variant": {"id": 1, "sku": changes.pop("sku", "85048")},
        "price": {"value": {**money, "centAmount": minor}},
        "quantity": quantity,
        "totalPrice": {**money, "centAmount": quantity * minor},
        **changes,
    }


def page(*records: dict[str, Any]) -> bytes:
    return json.dumps({"count": len(records), "results": records}).encode()


def causes(*records: dict[str, Any]) -> list[str]:
    return [failure.rule for record in validate_rows(ORDERS, [page(*records)]).rejected for failure in record.failures]


@pytest.mark.parametrize("dataset", ["products", "orders", "inventory"])
def test_a_full_sync_brings_everything_and_a_second_one_changes_nothing(dataset: str, systems: Systems) -> None:
    """The same promise for each of the three."""
    first, second = run(dataset, systems), run(dataset, systems)

    assert first.counts.inserted == first.counts.read > 0
    assert second.counts.unchanged == second.counts.read == first.counts.read
    assert first.lines.balanced
    assert second.lines.unchanged == first.lines.inserted


def test_every_line_of_the_shop_is_in_the_hub(shop: FakeRetailer, systems: Systems) -> None:
    """Counted at the source, in the ledger and in the table, by three different ways."""
    report = run("orders", systems)

    at_source = sum(
        len(row.document[name])
        for row in shop.state.collection("orders").rows()
        for name in ("lineItems", "customLineItems")
    )
    assert report.lines.inserted == at_source
    assert query(systems.store, "SELECT count(*) FROM sales_order_line") == [(at_source,)]


def test_a_flawed_year_loads_its_good_orders_and_keeps_the_bad_ones_whole(store: Store, tmp_path: Path) -> None:
    """One bad line keeps its whole order back, and its lines are counted as rejected."""
    with FakeRetailer(seed=5, inventory=10, products=200, orders=600, customers=100, flaws=2) as shop:
        systems = Systems(connect(shop), store, Landing(str(tmp_path)))
        orders, products = run("orders", systems), run("products", systems)

    for report in (orders, products):
        assert report.counts.rejected > 0
        assert report.counts.inserted + report.counts.rejected == report.counts.read
    with store.transaction() as work:
        kept = quarantine_repository.find(work, stream="commercetools.orders", limit=1_000)
    lines = sum(len(json.loads(item.raw).get(name) or []) for item in kept for name in ("lineItems", "customLineItems"))
    assert orders.lines.rejected == lines
    assert orders.lines.inserted + lines == orders.lines.read


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"lineItems": [], "totalPrice": {"currencyCode": "GBP", "centAmount": 0}}, "order_has_lines"),
        ({"lineItems": [line(quantity=2, name={})]}, "lines_have_a_name"),
        ({"totalPrice": {"currencyCode": "GBP", "centAmount": 1391}}, "order_total_is_right"),
        ({"orderState": "Lost"}, "state_is_known"),
    ],
)
def test_a_merchants_rule_refuses_the_whole_order(changes: dict[str, Any], rule: str) -> None:
    assert causes(order(**changes), order(id="o-2")) == [rule]


def test_a_sale_that_takes_back_and_a_credit_note_that_sells_are_refused() -> None:
    """A stock adjustment is no order; but a credit note, total below zero, is one."""
    adjustment = order(lineItems=[line(quantity=-2, minor=0)], totalPrice={"currencyCode": "GBP", "centAmount": 0})
    credit = order(lineItems=[line(quantity=-2)], totalPrice={"currencyCode": "GBP", "centAmount": -1390})

    assert "quantities_fit_the_order" in causes(adjustment)
    assert causes(credit) == []


def test_a_price_finer_than_a_penny_keeps_its_exact_text() -> None:
    """Rounded, the year's revenue would not be the shop's."""
    fine = {"type": "highPrecision", "currencyCode": "GBP", "centAmount": 0, "preciseAmount": 1, "fractionDigits": 3}
    padded = line(quantity=1_000, price={"value": fine}, totalPrice={"currencyCode": "GBP", "centAmount": 100})
    record = order(lineItems=[padded], totalPrice={"currencyCode": "GBP", "centAmount": 100})

    (row,) = validate_rows(ORDERS, [page(record)]).accepted.to_pylist()

    assert json.loads(row["lines"])[0]["price"] == "0.001"


def test_cleansing_keeps_what_it_changed_in_the_lineage() -> None:
    """A person may ask why this SKU is not what the shop shows. Its case is: other records have it in that case."""
    (row,) = validate_rows(ORDERS, [page(order(lineItems=[line(quantity=2, sku=" 85123a ")]))]).accepted.to_pylist()

    (kept,) = json.loads(row["lines"])
    assert (kept["sku"], kept["code"]) == ("85123a", " 85123a ")
    assert json.loads(row["lineage"]) == {"lines.1.sku": {"was": " 85123a ", "by": ["trim"]}}


def test_steps_say_which_of_them_changed_a_value() -> None:
    lineage = Lineage()

    assert lineage.cleansed("name", "Cafe\u0301 ", TRIM, NORMAL_FORM, Step("upper case", str.upper)) == "CAFÉ"
    assert lineage.cleansed("key", "A-1", TRIM, NORMAL_FORM) == "A-1"
    assert json.loads(lineage.document() or "") == {
        "name": {"was": "Cafe\u0301 ", "by": ["trim", "unicode normal form C", "upper case"]}
    }


@pytest.mark.parametrize(("currency", "exponent"), [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("UYW", 4)])
def test_minor_units_follow_iso_4217(currency: str, exponent: int) -> None:
    assert currency_exponent(currency) == exponent
    assert decimal_text(12345, exponent) in {"123.45", "12345", "12.345", "1.2345"}


def test_a_record_can_be_seen_as_it_was_at_any_instant(systems: Systems, shop: FakeRetailer) -> None:
    """A customer calls about last week: the hub still knows what it believed then."""
    run("inventory", systems)
    before = shop.state.clock.now()
    (moved,) = simulate(shop.state, stock_moves=1)["inventory"]
    run("inventory", replace(systems, overlap=timedelta(minutes=5)), SyncRequest())

    from crossdock.core.instants import from_utc_text  # noqa: PLC0415

    with systems.store.transaction() as work:
        dataset, shop = StockLevel.schema, "commercetools"
        was = record_store.as_of(work, dataset, shop, moved["sku"], from_utc_text(before))
        now = record_store.by_key(work, dataset, shop, moved["sku"])
        never = record_store.as_of(work, dataset, shop, moved["sku"], from_utc_text("1999-01-01T00:00:00Z"))
    versions = {row["id"]: row["version"] for row in now}
    assert versions[moved["id"]] == moved["version"]
    assert {row["id"]: row["version"] for row in was}[moved["id"]] == moved["version"] - 1
    assert never == []


def test_drift_names_fields_that_are_new_gone_or_retyped() -> None:
    """Drift is reported with the run, before anybody misses a field."""
    contract = {"properties": {"id": {"type": "string"}, "sku": {"type": "string"}}, "required": ["id", "sku"]}

    found = drift(contract, [{"id": 7, "colour": "red"}])

    assert [(each["field"], each["finding"], each["saw"]) for each in found] == [
        ("sku", "gone", ""),
        ("colour", "new", "string"),
        ("id", "retyped", "integer"),
    ]
    assert merged(found, found) == sorted(found, key=lambda each: (each["field"], each["finding"]))


def test_a_run_reports_drift_and_still_loads(systems: Systems, shop: FakeRetailer) -> None:
    """A new field breaks nothing; a person hears of it."""
    for row in shop.state.collection("product-projections").rows():
        shop.state.change("product-projections", row.id, lambda document: document.update(sustainability="A+"))

    report = run("products", systems)

    assert report.counts.inserted == report.counts.read
    assert query(systems.store, "SELECT drift->0->>'field', drift->0->>'finding' FROM sync_run") == [
        ("sustainability", "new")
    ]


def test_the_product_sync_maps_the_fields_of_the_source(systems: Systems, shop: FakeRetailer) -> None:
    run("products", systems)

    documents = (row.document for row in shop.state.collection("product-projections").rows())
    source = next(one for one in documents if "key" in one and one.get("masterVariant", {}).get("prices"))
    ((key, name, price, exponent, skus),) = query(
        systems.store,
        "SELECT key, name->>'en', price_minor, price_exponent, jsonb_path_query_array(variants, '$[*].sku')"
        " FROM product WHERE id = %s",
        source["id"],
    )
    assert (key, name) == (source["key"], source["name"]["en"])
    assert [price] == [
        one["value"]["centAmount"] for one in source["masterVariant"]["prices"] if one.keys() == {"id", "value"}
    ]
    assert exponent == 2
    assert skus == [variant["sku"] for variant in [source["masterVariant"], *source["variants"]]]
    assert PRODUCTS.columns[-1].name == "currencies_mixed"


def test_a_newer_order_closes_the_item_of_the_one_that_was_bad(systems: Systems, shop: FakeRetailer) -> None:
    """The quarantine must not keep what the source has fixed, whatever the dataset's table is called."""
    row = shop.state.collection("orders").rows()[0]
    shop.state.change("orders", row.id, lambda document: document.update(orderState="Lost"))
    run("orders", systems)
    shop.state.change("orders", row.id, lambda document: document.update(orderState="Open"))
    run("orders", systems)

    assert query(systems.store, "SELECT state FROM quarantine_item") == [("superseded",)]


def test_an_order_that_was_busy_is_read_by_the_next_run(systems: Systems, shop: FakeRetailer, hub_dsn: str) -> None:
    """The watermark passes it, so no later run would request it."""
    run("orders", systems)
    row = shop.state.collection("orders").rows()[0]
    shop.state.change("orders", row.id, lambda document: document.update(shipmentState="Shipped"))
    time.sleep(1.1)  # the source's clock has whole seconds: let the second of the change end
    with psycopg.connect(hub_dsn, options="-c search_path=hub") as other:
        other.execute("SELECT FROM sales_order WHERE id = %s FOR UPDATE", [row.id])
        first = run("orders", systems, SyncRequest())
    second = run("orders", systems, SyncRequest())

    assert (first.counts.held, second.counts.updated) == (1, 1)
    assert query(systems.store, "SELECT count(*) FROM deferred_record") == [(0,)]


def test_a_price_in_yen_has_no_decimals() -> None:
    """Two digits are the rule of the euro, not of money."""
    yen = {"type": "centPrecision", "currencyCode": "JPY", "centAmount": 500, "fractionDigits": 0}
    item = line(price={"value": yen}, totalPrice=yen)

    (row,) = validate_rows(ORDERS, [page(order(lineItems=[item], totalPrice=yen))]).accepted.to_pylist()

    assert json.loads(row["lines"])[0]["price"] == "500"


def test_an_unknown_cause_is_refused_by_name(systems: Systems) -> None:
    """`0 of 0 fixed` would look like success."""
    with pytest.raises(NotFound, match="No open item has the cause 'nonsense'") as raised:
        selected(systems.store, [], cause="nonsense", everything=False)

    assert raised.value.hint == Hint(HintId.LIST_QUARANTINE)


def test_a_discard_without_a_reason_is_refused(systems: Systems) -> None:
    """It is permanent, and the audit trail must have the reason."""
    with pytest.raises(BadRequest, match="why"):
        quarantine_service.discard(systems.store, 1, "  ", actor="test")


def test_a_held_run_raises_an_alert(systems: Systems, shop: FakeRetailer) -> None:
    """A person is needed, so an alert must notify one."""
    run("orders", systems)
    shop.faults.put("orders", [{"empty": True}], repeat=True)
    with pytest.raises(HeldForApproval):
        run("orders", systems)

    assert query(systems.store, "SELECT kind FROM alert") == [("run_held",)]


@pytest.mark.parametrize("request_", [SyncRequest(full=True), SyncRequest()], ids=["full", "delta"])
def test_a_new_shop_without_orders_is_done_and_alarms_nobody(
    store: Store, tmp_path: Path, request_: SyncRequest
) -> None:
    """The hub knows nothing and the source reports none: nothing can be lost, and the first order may be weeks away."""
    with FakeRetailer(seed=3, inventory=0, products=0, orders=0, customers=0, flaws=0) as shop:
        systems = Systems(source=connect(shop), store=store, landing=Landing(str(tmp_path)))
        reports = [run("orders", systems, request_) for _ in range(2)]

    assert [(report.state, report.counts.read) for report in reports] == [(RunState.DONE, 0)] * 2
    assert query(store, "SELECT kind FROM alert") == []
