"""
Actions on commercetools' prices: find the price of a SKU, read one as it is now, change its amount.

A product of the price mode Standalone has its prices beside it; every other product has them inside. A standalone price
has a version of its own. A price inside a product has the product's, so any change of the product makes it another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from crossdock.connectors.commercetools.client import PAGE_RECORDS, Commercetools
from crossdock.connectors.commercetools.field_types import Int64
from crossdock.connectors.commercetools.predicates import quoted
from crossdock.connectors.commercetools.price_records import PriceRecord, begins_at, ends_at, id_of
from crossdock.core.decoding import prepare
from crossdock.core.paths import path_of
from crossdock.http.response import HttpResponse
from crossdock.integrations.actions.model import Document
from crossdock.integrations.actions.ports import Effect, ReadBack, Sighting, WriteAction, WriteRequest

#: What an update of a price repeats, because it replaces the price as a whole. A discount is not among it: the platform
#: works it out by its product discounts.
_KEPT = ("key", "country", "customerGroup", "channel", "validFrom", "validUntil", "tiers", "custom", "recurrencePolicy")
#: Products that have the SKU, or had it or will have it: staged data count, too.
_MOST_PRODUCTS = 20
_STANDALONE = "Standalone"

#: A price, and what an action puts out of it.
_Found = tuple[PriceRecord, Document]


class _Variant(msgspec.Struct, frozen=True):
    sku: str | None = None
    #: As they came: an update repeats fields that the hub does not read.
    prices: list[dict[str, Any]] = []


class _Data(msgspec.Struct, frozen=True, rename="camel"):
    master_variant: _Variant | None = None
    variants: list[_Variant] = []


class _Catalog(msgspec.Struct, frozen=True):
    published: bool = False
    current: _Data | None = None
    staged: _Data | None = None


class _Product(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    version: Int64
    master_data: _Catalog
    price_mode: str | None = None

    @property
    def variants(self) -> list[_Variant]:
        """The variants that customers see; of a product that is not on sale, those that they will see."""
        catalog = self.master_data
        data = (catalog.current if catalog.published else catalog.staged or catalog.current) or _Data()
        return [*([data.master_variant] if data.master_variant else []), *data.variants]


class _ProductsPage(msgspec.Struct, frozen=True):
    results: list[_Product]


class _StandalonePrice(PriceRecord, frozen=True, rename="camel", kw_only=True, gc=False):
    version: Int64
    sku: str
    active: bool = True


class _StandalonePage(msgspec.Struct, frozen=True):
    results: list[_StandalonePrice]


class _Written(msgspec.Struct, frozen=True):
    id: str
    version: Int64


# Made once, here: the API server's threads run actions (core/decoding.py).
prepare(PriceRecord)
_decode_product = msgspec.json.Decoder(_Product).decode
_decode_products = msgspec.json.Decoder(_ProductsPage).decode
_decode_standalone = msgspec.json.Decoder(_StandalonePrice).decode
_decode_standalones = msgspec.json.Decoder(_StandalonePage).decode
_decode_written = msgspec.json.Decoder(_Written).decode


def find_price(shop: Commercetools, given: Document) -> Document:
    """Find the price of a SKU that is valid now: for everybody, or for exactly the country and the channel that are named."""
    sku = quoted(given["sku"])
    variant = f"masterVariant(sku = {sku}) or variants(sku = {sku})"
    where = f"masterData(current({variant}) or staged({variant}))"
    query = {"where": where, "limit": _MOST_PRODUCTS, "withTotal": "false"}
    is_standalone, inside = shop.http.get(
        shop.path("products"), query, lambda response: _of_products(response, given["sku"])
    )
    found = [*inside, *(_standalones(shop, given) if is_standalone else [])]
    now = datetime.now(UTC)
    meant = [(record, price) for record, price in found if _is_meant(record, given) and _is_valid(record, now)]
    # As the vendor chooses: of two with the same scope, the one with a window.
    return {"price": max(meant, key=lambda each: _has_window(each[0]))[1] if meant else None}


def get_price(shop: Commercetools, given: Document) -> Document:
    """Read one price by its IDs."""
    if given["product_id"] is None:
        found = shop.find(
            _standalone_path(shop, given), lambda response: [_standalone(response.decoded(_decode_standalone))]
        )
    else:
        found = shop.find(_product_path(shop, given), _of_product)
    return {"price": next((price for record, price in found or () if record.id == given["price_id"]), None)}


def _of_products(response: HttpResponse, sku: str) -> tuple[bool, list[_Found]]:
    """Say whether the SKU is of a product with standalone prices, and list the prices that it has inside products."""

    def decode(body: bytes) -> tuple[bool, list[_Found]]:
        products = [
            product
            for product in _decode_products(body).results
            if any(variant.sku == sku for variant in product.variants)
        ]
        inside = [found for product in products if product.price_mode != _STANDALONE for found in _inside(product)]
        return (
            any(product.price_mode == _STANDALONE for product in products),
            [(record, price) for record, price in inside if price["sku"] == sku],
        )

    return response.decoded(decode)


def _of_product(response: HttpResponse) -> list[_Found]:
    return response.decoded(lambda body: list(_inside(_decode_product(body))))


def _inside(product: _Product) -> Iterator[_Found]:
    for variant in product.variants:
        for fields in variant.prices:
            rest = {name: fields[name] for name in _KEPT if name in fields}
            record = msgspec.convert(fields, PriceRecord)
            yield record, _document(record, product.id, product.version, variant.sku, rest)


def _standalones(shop: Commercetools, given: Document) -> Iterable[_Found]:
    country = given.get("country")
    of_country = f"country = {quoted(country)}" if country else "country is not defined"
    where = f"sku = {quoted(given['sku'])} and value(currencyCode = {quoted(given['currency'])}) and {of_country}"
    query = {"where": where, "limit": PAGE_RECORDS, "withTotal": "false"}
    page = shop.http.get(shop.path("standalone-prices"), query, lambda response: response.decoded(_decode_standalones))
    return [_standalone(record) for record in page.results if record.active]


def _standalone(record: _StandalonePrice) -> _Found:
    # Its update changes the amount alone.
    return record, _document(record, None, record.version, record.sku, {})


def _document(record: PriceRecord, product_id: str | None, version: int, sku: str | None, rest: Document) -> Document:
    return {
        "product_id": product_id,
        "price_id": record.id,
        "version": version,
        "sku": sku,
        "currency": record.value.currency_code,
        "amount_minor": record.value.cent_amount,
        "country": record.country,
        "channel": id_of(record.channel),
        "rest": rest,
    }


def _is_meant(record: PriceRecord, given: Document) -> bool:
    """Match the scope exactly: a price for more people than the caller names is not theirs to change."""
    return (
        record.id is not None
        and record.value.currency_code == given["currency"]
        and record.country == given.get("country")
        and id_of(record.channel) == given.get("channel")
        and record.customer_group is None
        and record.recurrence_policy is None
    )


def _is_valid(record: PriceRecord, at: datetime) -> bool:
    begins, ends = begins_at(record), ends_at(record)
    return (begins is None or begins <= at) and (ends is None or at < ends)


def _has_window(record: PriceRecord) -> bool:
    return record.valid_from is not None or record.valid_until is not None


def _product_path(shop: Commercetools, given: Document) -> str:
    return shop.path(path_of("products", given["product_id"]).lstrip("/"))


def _standalone_path(shop: Commercetools, given: Document) -> str:
    return shop.path(path_of("standalone-prices", given["price_id"]).lstrip("/"))


def _request(shop: Commercetools, given: Document) -> WriteRequest:
    value = {"currencyCode": given["currency"], "centAmount": given["amount_minor"]}
    if given["product_id"] is None:
        path, change = _standalone_path(shop, given), {"action": "changeValue", "value": value}
    else:
        price = {**given["rest"], "value": value}
        path = _product_path(shop, given)
        change = {"action": "changePrice", "priceId": given["price_id"], "price": price}
    # Customers see it at once; for a product the vendor's default is a change that they do not see.
    return WriteRequest("POST", path, {"version": given["version"], "actions": [{**change, "staged": False}]})


def _written(response: HttpResponse) -> Document:
    return _output(response.decoded(_decode_written).version)


def _output(version: int) -> Document:
    # The answer is the whole product. Which of its prices was changed, the input says.
    return {"version": version}


def _judge(given: Document, found: Document) -> Sighting:
    price = found["price"]
    if price is None:
        return Sighting(Effect.UNCLEAR)
    # A version before that of the request is an old copy, such as a fallback's.
    if price["amount_minor"] == given["amount_minor"] and price["version"] >= given["version"]:
        return Sighting(Effect.VISIBLE, _output(price["version"]))
    return Sighting(Effect.ABSENT if price["version"] == given["version"] else Effect.UNCLEAR)


CHANGE_PRICE = WriteAction(
    request=_request,
    output_of=_written,
    read_back=ReadBack(
        input_of=lambda given: {"product_id": given["product_id"], "price_id": given["price_id"]}, judge=_judge
    ),
)
