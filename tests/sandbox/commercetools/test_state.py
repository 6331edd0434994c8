"""Generated data: the same for the same seed, with the flaws of real catalogues."""

from datetime import UTC, datetime
from typing import Any

import pytest

from crossdock.sandbox.commercetools.data.inventory import FLAWS
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.simulation import simulate
from crossdock.sandbox.commercetools.state import RetailerState, Size
from crossdock.sandbox.engine.clock import instant_of, text_of

SMALL = {"inventory": 150, "products": 20, "orders": 20, "customers": 20}


def everything(world: RetailerState) -> dict[str, list[bytes]]:
    return {name: [row.raw for row in collection.rows()] for name, collection in world.collections.items()}


def test_same_seed_gives_the_same_bytes() -> None:
    """A failure can be reproduced."""
    assert everything(RetailerState(Size(seed=5, **SMALL))) == everything(RetailerState(Size(seed=5, **SMALL)))


def test_other_seed_gives_another_shop() -> None:
    """The seed reaches every kind of resource."""
    one, other = everything(RetailerState(Size(seed=5, **SMALL))), everything(RetailerState(Size(seed=6, **SMALL)))
    assert not any(set(one[name]) & set(other[name]) for name in one)


def test_size_of_one_kind_leaves_the_others_alone() -> None:
    """A larger warehouse does not change the customers."""
    small, large = (
        everything(RetailerState(Size(**SMALL))),
        everything(RetailerState(Size(**SMALL | {"inventory": 300}))),
    )
    assert small["customers"] == large["customers"]
    assert small["orders"] == large["orders"]


def test_ids_do_not_show_the_order_of_creation(still_shop: FakeRetailer) -> None:
    """A reader that pages by ID alone cannot be right about time."""
    instants = [row.modified_at for row in still_shop.state.collection("inventory").rows()]
    assert instants != sorted(instants)


def test_data_can_be_without_flaws() -> None:
    """Flawless data is the control of an experiment."""
    world = RetailerState(Size(**SMALL, flaws=0))
    assert not any(world.flawed_ids(name) for name in world.collections)


def test_each_flaw_occurs_and_flaws_are_few(still_shop: FakeRetailer) -> None:
    """About one row in a hundred has a flaw, and each kind occurs."""
    flawed = still_shop.state.flawed_ids("inventory")
    assert set(flawed.values()) == set(FLAWS)
    assert len(flawed) == 12
    assert set(RetailerState(Size(inventory=100)).flawed_ids("inventory").values()) == set(FLAWS)
    assert len(RetailerState(Size(inventory=3000, products=0, orders=0, flaws=2)).flawed_ids("inventory")) == 60


def is_wrong(entry: dict[str, Any]) -> bool:
    """Check the rules of a good inventory entry, written independently of the generator."""
    sku, on_stock, available = entry.get("sku"), entry["quantityOnStock"], entry["availableQuantity"]
    if not isinstance(sku, str) or not sku or sku != sku.strip() or not sku.isascii() or not sku.isprintable():
        return True
    if not isinstance(on_stock, int) or not available <= on_stock < 10**9 or entry.get("restockableInDays", 0) < 0:
        return True
    return entry["createdAt"] > entry["lastModifiedAt"] or not instant_of(entry.get("expectedDelivery", "2026-01-01"))


def test_exactly_the_flawed_rows_are_wrong(still_shop: FakeRetailer) -> None:
    """Tests and the demo compare what they reject with this list."""
    wrong = {row.id for row in still_shop.state.collection("inventory").rows() if is_wrong(row.document)}
    assert wrong == still_shop.state.flawed_ids("inventory").keys()


@pytest.mark.parametrize("entity", ["inventory", "product-projections", "orders", "customers"])
def test_modification_instants_are_always_sortable(still_shop: FakeRetailer, entity: str) -> None:
    """Every other field may be wrong; the watermark's may not."""
    for row in still_shop.state.collection(entity).rows():
        instant = instant_of(row.modified_at)
        assert instant is not None
        assert text_of(instant) == row.modified_at


def test_order_totals_add_up(still_shop: FakeRetailer) -> None:
    """Lines and shipping, as discounted, add up to the total, and net and tax to gross."""
    flawed = still_shop.state.flawed_ids("orders")
    for order in (row.document for row in still_shop.state.collection("orders").rows() if row.id not in flawed):
        several = order["shippingMode"] == "Multiple"
        infos = [one["shippingInfo"] for one in order["shipping"]] if several else [order.get("shippingInfo")]
        prices = [info.get("discountedPrice", {}).get("value") or info["price"] for info in infos if info]
        lines = [line["totalPrice"] for line in (*order["lineItems"], *order["customLineItems"])]
        off = order.get("discountOnTotalPrice", {"discountedAmount": {"centAmount": 0}})["discountedAmount"]
        assert order["lineItems"]
        assert order["totalPrice"]["centAmount"] == sum(m["centAmount"] for m in (*lines, *prices)) - off["centAmount"]
        if taxed := order.get("taxedPrice"):
            assert taxed["totalGross"]["centAmount"] == sum(
                taxed[name]["centAmount"] for name in ("totalNet", "totalTax")
            )


def test_orders_have_the_forms_that_the_vendor_documents(still_shop: FakeRetailer) -> None:
    """Or a passing sync would mean only that the two halves agree."""
    orders = [row.document for row in still_shop.state.collection("orders").rows()]
    lines = [line for order in orders for line in order["lineItems"]]

    assert {order["shippingMode"] for order in orders} == {"Single", "Multiple"}
    assert {order["taxMode"] for order in orders} == {"Platform", "External", "ExternalAmount", "Disabled"}
    assert {line["priceMode"] for line in lines} == {"Platform", "ExternalPrice", "ExternalTotal"}
    assert {line["lineItemMode"] for line in lines} == {"Standard", "GiftLineItem"}
    for field in ("customLineItems", "shippingInfo", "discountOnTotalPrice", "returnInfo", "discountCodes"):
        assert any(order.get(field) for order in orders), field
    assert any("orderNumber" not in order for order in orders)


def channel_of(entry: dict[str, Any]) -> str | None:
    """Give the warehouse of an entry; None if it is for all channels."""
    channel: str | None = entry.get("supplyChannel", {}).get("id")
    return channel


def test_inventory_is_one_entry_for_each_sku_and_warehouse() -> None:
    """SKU and warehouse are the natural key."""
    rows = [row.document for row in RetailerState(Size(flaws=0)).collection("inventory").rows()]
    assert len({(row["sku"], channel_of(row)) for row in rows}) == len(rows) == 1000
    assert len({channel_of(row) for row in rows} - {None}) == 4


def test_the_legal_forms_of_a_catalogue_occur(still_shop: FakeRetailer) -> None:
    """What the vendor documents as optional is missing somewhere; a reader that demands it fails on the default data."""
    products = [row.document for row in still_shop.state.collection("product-projections").rows()]
    shown = [product.get("masterData", {}).get("current", product) for product in products]
    variants = [one for data in shown for one in (data["masterVariant"], *data["variants"])]
    prices = [price for one in variants for price in one["prices"]]
    stock = [row.document for row in still_shop.state.collection("inventory").rows()]
    standalone = [row.document for row in still_shop.state.collection("standalone-prices").rows()]

    assert any("key" not in product for product in products)
    assert any("masterData" in product for product in products)
    assert any(not text.strip() for data in shown for text in data["name"].values())
    assert any("sku" not in one for one in variants)
    assert any(
        data["masterVariant"]["prices"][0].get("customerGroup") for data in shown if data["masterVariant"]["prices"]
    )
    for field in ("channel", "country", "validFrom", "validUntil", "tiers", "discounted", "recurrencePolicy"):
        assert any(field in price for price in prices)
        assert any(field in price for price in standalone)
    assert {price["value"]["type"] for price in prices} == {"centPrecision", "highPrecision"}
    assert {price["value"]["fractionDigits"] for price in prices} >= {0, 2, 3, 5}
    assert any(price["active"] for price in standalone)
    assert not all(price["active"] for price in standalone)
    assert any(entry["availableQuantity"] < 0 for entry in stock if isinstance(entry["availableQuantity"], int))
    assert any(entry.get("restockableInDays") == 9999 for entry in stock)
    assert any(len(entry.get("sku", "")) > 100 for entry in stock)
    assert any("supplyChannel" not in entry for entry in stock)


def test_no_change_is_made_in_the_time_to_come(shop: FakeRetailer) -> None:
    """Each change has a millisecond of its own. A delta that asked up to now missed the last of them, once in forty runs."""
    simulate(shop.state, stock_moves=60)
    latest = max(row.document["lastModifiedAt"] for row in shop.state.collection("inventory").rows())

    assert latest <= text_of(datetime.now(UTC))
