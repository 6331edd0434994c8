"""
Read the same pages over commercetools' GraphQL: https://docs.commercetools.com/api/graphql.

A query names the fields that the hub reads, and the response is converted to the shape of REST, so that no later code
needs to know which API was used. The differences: GraphQL sends localized texts and custom fields as lists, and null
for what REST omits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from crossdock.core.errors import BadRequest
from crossdock.http.graphql import error_of
from crossdock.http.response import HttpResponse

Json = dict[str, Any]

#: Error codes after which a retry may succeed; every other code is a refusal.
_TRANSIENT = frozenset({"General", "OverCapacity", "BadGateway", "QueryTimedOut", "PendingOperation"})

#: Money in whole cents, and money that may be finer: two types, of which only the second has more.
_CENTS = "{ type currencyCode centAmount fractionDigits }"
_MONEY = "{ type currencyCode centAmount fractionDigits ... on HighPrecisionMoney { preciseAmount } }"
_TEXTS = "{ locale value }"
_ADDRESS = """{
    id key title salutation firstName lastName streetName streetNumber additionalStreetInfo postalCode city region
    state country company department building apartment pOBox phone mobile email additionalAddressInfo }"""
_PRICE = f"""
    value {_MONEY} country customerGroupRef {{ id }} channelRef {{ id }} recurrencePolicyRef {{ id }}
    validFrom validUntil discounted {{ value {_MONEY} discountRef {{ id }} }} tiers {{ minimumQuantity value {_MONEY} }}"""
_VARIANT = f"""{{
    id sku key
    prices {{ id {_PRICE} }}
    attributesRaw {{ name value }}
    images {{ url label dimensions {{ width height }} }}
}}"""
_PRODUCT_DATA = f"""{{
    nameAllLocales {_TEXTS} slugAllLocales {_TEXTS} descriptionAllLocales {_TEXTS}
    categoriesRef {{ id }}
    masterVariant {_VARIANT} variants {_VARIANT}
}}"""

_INVENTORY_ENTRY = """
    id version createdAt lastModifiedAt key sku supplyChannelRef { id } quantityOnStock availableQuantity
    restockableInDays expectedDelivery"""
_PRODUCT = f"""
    id version createdAt lastModifiedAt key productTypeRef {{ id }} priceMode
    masterData {{ published hasStagedChanges current {_PRODUCT_DATA} staged {_PRODUCT_DATA} }}"""
_STANDALONE_PRICE = f"""
    id version createdAt lastModifiedAt key sku active {_PRICE}"""
_PORTIONS = f"{{ quantity discountedPrice {{ value {_MONEY} }} }}"
_SHIPPING_INFO = f"""{{
    price {_CENTS} discountedPrice {{ value {_MONEY} }}
    deliveries {{
        id key createdAt items {{ id quantity }} address {_ADDRESS}
        parcels {{
            id key createdAt items {{ id quantity }}
            trackingData {{ trackingId carrier provider providerTransaction isReturn }}
        }}
    }} }}"""
_ORDER = f"""
    id version createdAt lastModifiedAt orderNumber orderState paymentState shipmentState
    customerId customerEmail country totalPrice {_CENTS} shippingAddress {_ADDRESS} itemShippingAddresses {_ADDRESS}
    taxMode taxedPrice {{ totalNet {_CENTS} totalGross {_CENTS} totalTax {_CENTS} }}
    shippingMode shippingInfo {_SHIPPING_INFO}
    shipping {{ shippingKey shippingInfo {_SHIPPING_INFO} shippingAddress {_ADDRESS} }}
    discountOnTotalPrice {{ discountedAmount {_MONEY} }}
    lineItems {{
        id quantity productId nameAllLocales {_TEXTS} variant {{ sku }} totalPrice {_CENTS} priceMode lineItemMode
        price {{ value {_MONEY} discounted {{ value {_MONEY} discountRef {{ id }} }} tiers {{ minimumQuantity value {_MONEY} }} }}
        discountedPricePerQuantity {_PORTIONS}
    }}
    customLineItems {{
        id quantity slug nameAllLocales {_TEXTS} money {_MONEY} totalPrice {_CENTS} discountedPricePerQuantity {_PORTIONS}
    }}
    returnInfo {{
        returnTrackingId returnDate
        items {{
            id key type quantity comment shipmentState paymentState lastModifiedAt createdAt
            ... on LineItemReturnItem {{ lineItemId }}
            ... on CustomLineItemReturnItem {{ customLineItemId }}
        }}
    }}
    syncInfo {{ channelRef {{ typeId id }} externalId syncedAt }}
    discountCodes {{ discountCodeRef {{ typeId id }} state }}
    paymentInfo {{ paymentRefs {{ typeId id }} }}"""

_CUSTOMER = f"""
    id version createdAt lastModifiedAt key customerNumber externalId email firstName lastName companyName locale
    isEmailVerified addresses {_ADDRESS}"""


def _query(root: str, fields: str) -> str:
    return f"""query Page($where: String, $sort: [String!], $limit: Int, $withTotal: Boolean!) {{
  page: {root}(where: $where, sort: $sort, limit: $limit) {{
    count
    total @include(if: $withTotal)
    results {{{fields} }}
  }}
}}"""


def _as_inventory_entry(entry: Json) -> Json:
    return _renamed(entry, {"supplyChannelRef": "supplyChannel"})


def _as_product(product: Json) -> Json:
    catalog = product["masterData"]
    for side in ("current", "staged"):
        # Null for what was never published.
        data = catalog[side] or {}
        for name in ("name", "slug", "description"):
            data[name] = _texts(data.pop(f"{name}AllLocales", None))
        _renamed(data, {"categoriesRef": "categories"})
        for variant in filter(None, (data.get("masterVariant"), *(data.get("variants") or ()))):
            variant["attributes"] = variant.pop("attributesRaw", None) or []
            variant["prices"] = [_as_price(price) for price in variant.get("prices") or ()]
    return _renamed(product, {"productTypeRef": "productType"})


def _as_price(price: Json) -> Json:
    if discounted := price.get("discounted"):
        _renamed(discounted, {"discountRef": "discount"})
    return _renamed(price, {f"{name}Ref": name for name in ("customerGroup", "channel", "recurrencePolicy")})


def _renamed(document: Json, names: Mapping[str, str]) -> Json:
    """Give references the names that they have over REST; GraphQL's own are for what they refer to, which may be gone."""
    for name, as_rest_has_it in names.items():
        document[as_rest_has_it] = document.pop(name, None)
    return document


def _as_order(order: Json) -> Json:
    for line in (*(order.get("lineItems") or ()), *(order.get("customLineItems") or ())):
        line["name"] = _texts(line.pop("nameAllLocales", None))
        if discounted := (line.get("price") or {}).get("discounted"):
            _renamed(discounted, {"discountRef": "discount"})
    for one in order.get("syncInfo") or ():
        one["channel"] = one.pop("channelRef", None)
    for one in order.get("discountCodes") or ():
        one["discountCode"] = one.pop("discountCodeRef", None)
    if payments := order.get("paymentInfo"):
        payments["payments"] = payments.pop("paymentRefs", None) or []
    return order


def _texts(texts: list[dict[str, str]] | None) -> dict[str, str] | None:
    return None if texts is None else {text["locale"]: text["value"] for text in texts}


#: REST resource → its GraphQL query, and the conversion of a record to the REST shape.
_RESOURCES: dict[str, tuple[str, Callable[[Json], Json]]] = {
    "inventory": (_query("inventoryEntries", _INVENTORY_ENTRY), _as_inventory_entry),
    "products": (_query("products", _PRODUCT), _as_product),
    "standalone-prices": (_query("standalonePrices", _STANDALONE_PRICE), _as_price),
    "orders": (_query("orders", _ORDER), _as_order),
    "customers": (_query("customers", _CUSTOMER), lambda customer: customer),
}


def document_of(resource: str, query: Mapping[str, Any]) -> Json:
    """
    Build the GraphQL request for a REST *query* (`where`, `sort`, `limit`, `withTotal`).

    Raises:
        BadRequest: the resource has no GraphQL query here.

    """
    if resource not in _RESOURCES:
        raise BadRequest(
            f"commercetools' {resource} cannot be read over GraphQL here. Supported: {', '.join(_RESOURCES)}"
        )
    variables = {name: query[name] for name in ("where", "sort", "limit") if query.get(name) is not None}
    variables["withTotal"] = query.get("withTotal") == "true"
    return {"operationName": "Page", "query": _RESOURCES[resource][0], "variables": variables}


def as_rest(response: HttpResponse, resource: str) -> HttpResponse:
    """
    Convert the response to the body that REST would have sent.

    Raises:
        SystemUnavailable, SystemRefused: it contains errors, which GraphQL sends with HTTP 200.
        SourceInvalid: it is not a valid response to the query.

    """
    try:
        # Not msgspec: a NaN must send only its record to quarantine, as over REST.
        document = json.loads(response.body)
        errors, data = document.get("errors"), document.get("data")
    except (ValueError, AttributeError, RecursionError) as error:
        raise response.invalid("is not a GraphQL response") from error
    if errors:
        raise error_of(response, document, _TRANSIENT)
    try:
        return msgspec.structs.replace(response, body=_page(data["page"], _RESOURCES[resource][1]))
    except (KeyError, TypeError, AttributeError) as error:
        raise response.invalid(f"is not a page of {resource}") from error


def _page(page: Json, as_record: Callable[[Json], Json]) -> bytes:
    if not isinstance(page["results"], list):
        raise TypeError(page["results"])
    results = [_without_nulls(as_record(record)) for record in page["results"]]
    head = {name: page[name] for name in ("count", "total") if page.get(name) is not None}
    return json.dumps(head | {"results": results}, separators=(",", ":")).encode()


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(field) for name, field in value.items() if field is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
