"""Which price of a SKU is found, and what a change of it leaves as it was."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from referencing import Registry

from crossdock.connectors.commercetools import Commercetools
from crossdock.connectors.commercetools.price_actions import CHANGE_PRICE, find_price, get_price
from crossdock.core.errors import SourceInvalid, SystemRefused
from crossdock.integrations.actions.ports import Effect
from crossdock.sandbox.commercetools.data.building_blocks import cents
from crossdock.sandbox.commercetools.data.products import shown
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from tests.vendor_contract import faults_in

Json = dict[str, Any]
PRODUCTS, PRICES = "product-projections", "standalone-prices"
PAST, FUTURE = "2020-01-01T00:00:00.000Z", "2199-01-01T00:00:00.000Z"
CHANNEL = {"typeId": "channel", "id": "c-1"}
#: Everything that the vendor documents of a price and that its update has to repeat.
RICH = {
    "key": "price-1",
    "country": "DE",
    "channel": CHANNEL,
    "validFrom": PAST,
    "validUntil": FUTURE,
    "tiers": [{"minimumQuantity": 10, "value": cents(900, "EUR")}],
    "custom": {"type": {"typeId": "type", "id": "t-1"}, "fields": {"reason": "spring"}},
}


def price(name: str, amount: int, currency: str = "EUR", **fields: Any) -> Json:
    return {"id": name, "value": cents(amount, currency), **fields}


PRICE_LIST = [
    price("group", 1, customerGroup={"typeId": "customer-group", "id": "g-1"}),
    price("abo", 2, recurrencePolicy={"typeId": "recurrence-policy", "id": "p-1"}),
    price("all", 1000),
    price("over", 3, validUntil=PAST, country="FR"),
    price("later", 4, validFrom=FUTURE, country="FR"),
    price("de", 1100, country="DE"),
    price("de now", 1050, country="DE", validFrom=PAST),
    price("shop", 1200, channel=CHANNEL),
    price("usd", 1300, "USD"),
]


class Shop:
    """A retailer, and one of its products with prices inside."""

    def __init__(self, retailer: FakeRetailer, client: Commercetools) -> None:
        self.retailer, self.client = retailer, client
        rows = [row.document for row in retailer.state.collection(PRODUCTS).rows()]
        self.product = next(row for row in rows if row["priceMode"] == "Embedded" and row["published"])
        self.sku = shown(self.product)["masterVariant"]["sku"]

    def has(self, *prices: Json, **fields: Any) -> None:
        def edit(product: Json) -> None:
            shown(product)["masterVariant"]["prices"] = deepcopy(list(prices))
            product.update(fields)

        self.product = self.retailer.state.change(PRODUCTS, self.product["id"], edit).document

    def found(self, currency: str = "EUR", **scope: Any) -> Json | None:
        answer: Json | None = find_price(self.client, {"sku": self.sku, "currency": currency, **scope})["price"]
        return answer

    def update(self, given: Json) -> None:
        request = CHANGE_PRICE.request(self.client, given)
        self.client.http.send(request.method, request.path, request.body, CHANGE_PRICE.output_of)


@pytest.fixture
def shop() -> Iterator[Shop]:
    with FakeRetailer(seed=5, inventory=1, products=10, orders=1, customers=1, flaws=0) as retailer:
        scope = f"manage_project:{retailer.project}"
        client = Commercetools.signed_in(
            retailer.url, retailer.project, client_id=retailer.client_id, secret=retailer.client_secret, scope=scope
        )
        yield Shop(retailer, client)


class TestFind:
    @pytest.mark.parametrize(
        ("scope", "expected"),
        [
            ({}, "all"),
            ({"country": None, "channel": None}, "all"),
            ({"country": "DE"}, "de now"),
            ({"country": "FR"}, None),
            ({"country": "IT"}, None),
            ({"channel": "c-1"}, "shop"),
            ({"channel": "c-2"}, None),
            ({"country": "DE", "channel": "c-1"}, None),
            ({"currency": "USD"}, "usd"),
            ({"currency": "GBP"}, None),
        ],
    )
    def test_a_price_is_found_by_exactly_its_scope_and_now(self, shop: Shop, scope: Json, expected: str | None) -> None:
        """No price for more people, for fewer, or for another time stands in."""
        shop.has(*PRICE_LIST)

        found = shop.found(**scope)

        assert (found and found["price_id"]) == expected

    def test_it_says_what_a_change_needs(self, shop: Shop) -> None:
        shop.has(price("rich", 1000, **RICH))

        assert shop.found(country="DE", channel="c-1") == {
            "product_id": shop.product["id"],
            "price_id": "rich",
            "version": shop.product["version"],
            "sku": shop.sku,
            "currency": "EUR",
            "amount_minor": 1000,
            "country": "DE",
            "channel": "c-1",
            "rest": RICH,
        }

    def test_an_unknown_sku_has_no_price(self, shop: Shop) -> None:
        shop.sku = 'a "SKU" of nobody'

        assert shop.found() is None

    def test_a_variant_that_is_not_the_master_has_its_own_price(self, shop: Shop) -> None:
        def edit(product: Json) -> None:
            data = shown(product)
            data["variants"] = [{"id": 9, "sku": "OTHER", "prices": [price("other", 5)]}]

        shop.retailer.state.change(PRODUCTS, shop.product["id"], edit)
        shop.sku = "OTHER"

        found = shop.found()

        assert found is not None
        assert (found["price_id"], found["sku"]) == ("other", "OTHER")

    def test_a_price_that_is_only_staged_is_not_shown(self, shop: Shop) -> None:
        """Customers do not pay it."""
        shop.has(price("all", 1000))
        found = shop.found()
        assert found is not None
        action = {"action": "changePrice", "priceId": "all", "price": {"value": cents(5, "EUR")}}
        body = {"version": found["version"], "actions": [action]}
        shop.client.http.send("POST", shop.client.path(f"products/{shop.product['id']}"), body, CHANGE_PRICE.output_of)

        again = shop.found()

        assert again is not None
        assert (again["amount_minor"], again["version"]) == (1000, found["version"] + 1)

    def test_a_product_of_standalone_prices_has_those_that_are_switched_on(self, shop: Shop) -> None:
        shop.has(price("inside", 1), priceMode="Standalone")
        for name, active in (("off", False), ("on", True)):
            shop.retailer.state.create(PRICES, {**price(name, 700), "sku": shop.sku, "active": active})

        found = shop.found()

        assert found is not None
        assert (found["product_id"], found["price_id"], found["version"], found["rest"]) == (None, "on", 1, {})

    def test_standalone_prices_of_a_product_with_prices_inside_are_not_looked_for(self, shop: Shop) -> None:
        """The platform does not either; and a token that may not read them is enough."""
        shop.has(price("inside", 1))
        shop.retailer.faults.put(PRICES, [{"status": 403}])

        found = shop.found()

        assert found is not None
        assert found["price_id"] == "inside"

    def test_an_answer_that_the_vendor_does_not_document_is_an_error(self, shop: Shop) -> None:
        shop.has({**price("all", 1000), "value": "ten"})

        with pytest.raises(SourceInvalid):
            shop.found()


class TestChange:
    def test_all_else_stays_as_it_was(self, shop: Shop) -> None:
        """The vendor replaces a price as a whole: what is not repeated would be gone."""
        others = [price("all", 1000), price("usd", 1300, "USD")]
        rich = price("rich", 1000, **RICH)
        shop.has(others[0], rich, others[1])
        found = shop.found(country="DE", channel="c-1")
        assert found is not None
        given = {name: found[name] for name in ("product_id", "price_id", "version", "currency", "rest")}

        shop.update({**given, "amount_minor": 1234})

        projection = shop.retailer.state.get(PRODUCTS, shop.product["id"]).document
        assert "masterData" not in projection, "customers see another price than what is staged"
        changed = {**rich, "value": cents(1234, "EUR")}
        assert projection["masterVariant"]["prices"] == [others[0], changed, others[1]]

    def test_the_draft_is_the_vendors(self, shop: Shop, contract: Registry[Any]) -> None:
        """Of an action, the schema of the update says no more than that there is one."""
        shop.has(price("rich", 1000, **RICH))
        found = shop.found(country="DE", channel="c-1")
        assert found is not None

        (action,) = CHANGE_PRICE.request(shop.client, {**found, "amount_minor": 5}).body["actions"]

        assert faults_in(contract, "ProductChangePriceAction", action) == []
        # The contract's schema has custom fields as text only, although the vendor has any.
        assert faults_in(contract, "PriceDraft", action["price"]) == []
        assert faults_in(contract, "PriceDraft", {**action["price"], "colour": "red"}) != []

    def test_a_standalone_price_is_changed_at_once(self, shop: Shop, contract: Registry[Any]) -> None:
        given = {"product_id": None, "price_id": "a/b", "version": 3, "currency": "EUR", "amount_minor": 5, "rest": {}}

        request = CHANGE_PRICE.request(shop.client, given)

        assert request.path.endswith("/standalone-prices/a%2Fb")
        (action,) = request.body["actions"]
        assert action["staged"] is False
        assert faults_in(contract, "StandalonePriceChangeValueAction", action) == []

    def test_a_price_that_is_gone_is_not_there(self, shop: Shop) -> None:
        for product_id in (None, "nothing", shop.product["id"]):
            assert get_price(shop.client, {"product_id": product_id, "price_id": "gone"}) == {"price": None}

    def test_a_price_that_is_gone_cannot_be_changed(self, shop: Shop) -> None:
        given = {
            "product_id": shop.product["id"],
            "price_id": "gone",
            "version": shop.product["version"],
            "currency": "EUR",
            "amount_minor": 5,
            "rest": {},
        }
        with pytest.raises(SystemRefused, match="gone"):
            shop.update(given)

    @pytest.mark.parametrize(
        ("version", "amount", "effect"),
        [
            (5, 40, Effect.VISIBLE),
            (6, 40, Effect.VISIBLE),
            (5, 12, Effect.ABSENT),
            (6, 12, Effect.UNCLEAR),
            (4, 40, Effect.UNCLEAR),
            (4, 12, Effect.UNCLEAR),
            (None, None, Effect.UNCLEAR),
        ],
    )
    def test_what_a_record_says_about_a_lost_answer(
        self, version: int | None, amount: int | None, effect: Effect
    ) -> None:
        """A price that is gone says nothing: it may have been changed first."""
        found = {"price": None if version is None else {"version": version, "amount_minor": amount}}

        assert CHANGE_PRICE.read_back is not None
        assert CHANGE_PRICE.read_back.judge({"version": 5, "amount_minor": 40}, found).effect is effect
