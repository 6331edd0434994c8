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

from crossdock.core.errors import BadRequest, HubError, SystemRefused, SystemUnavailable
from crossdock.http.response import HttpResponse, redacted

Json = dict[str, Any]

_PUBLISHED = "masterData(published = true)"

#: Error codes after which a retry may succeed; every other code is a refusal.
_TRANSIENT = frozenset({"General", "OverCapacity", "BadGateway", "QueryTimedOut", "PendingOperation"})

_MONEY = "{ type currencyCode centAmount fractionDigits ... on HighPrecisionMoney { preciseAmount } }"
_TEXTS = "{ locale value }"
_ADDRESS = """{
    id key title salutation firstName lastName streetName streetNumber additionalStreetInfo postalCode city region
    state country company department building apartment pOBox phone mobile email additionalAddressInfo }"""
_VARIANT = f"""{{
    id sku key
    prices {{ value {_MONEY} country }}
    attributesRaw {{ name value }}
    images {{ url label dimensions {{ width height }} }}
}}"""

_INVENTORY_ENTRY = """
    id version createdAt lastModifiedAt key sku supplyChannel { id } quantityOnStock availableQuantity
    restockableInDays expectedDelivery"""
_PRODUCT = f"""
    id version createdAt lastModifiedAt key productType {{ id }}
    masterData {{ published current {{
        nameAllLocales {_TEXTS} slugAllLocales {_TEXTS} descriptionAllLocales {_TEXTS}
        categories {{ id }}
        masterVariant {_VARIANT} variants {_VARIANT}
    }} }}"""
_ORDER = f"""
    id version createdAt lastModifiedAt orderNumber orderState paymentState shipmentState
    customerId customerEmail country totalPrice {_MONEY} shippingAddress {_ADDRESS}
    shippingInfo {{ price {_MONEY} }}
    discountOnTotalPrice {{ discountedAmount {_MONEY} }}
    lineItems {{
        id quantity nameAllLocales {_TEXTS} price {{ value {_MONEY} country }} variant {{ sku }} totalPrice {_MONEY}
        custom {{ customFieldsRaw {{ name value }} }}
    }}"""

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


def _as_projection(product: Json) -> Json:
    data = product.pop("masterData")
    current = data["current"] or {}
    for name in ("name", "slug", "description"):
        texts = _texts(current.pop(f"{name}AllLocales", None))
        if texts is not None:
            current[name] = texts
    for variant in (current.get("masterVariant"), *(current.get("variants") or ())):
        if variant:
            variant["attributes"] = variant.pop("attributesRaw", None) or []
    return product | {"published": data["published"]} | current


def _as_order(order: Json) -> Json:
    for line in order.get("lineItems") or ():
        line["name"] = _texts(line.pop("nameAllLocales", None))
        if custom := line.get("custom"):
            line["custom"] = {"fields": {field["name"]: field["value"] for field in custom["customFieldsRaw"] or ()}}
    return order


def _texts(texts: list[dict[str, str]] | None) -> dict[str, str] | None:
    return None if texts is None else {text["locale"]: text["value"] for text in texts}


#: REST resource → its GraphQL query, and the conversion of a record to the REST shape.
_RESOURCES: dict[str, tuple[str, Callable[[Json], Json]]] = {
    "inventory": (_query("inventoryEntries", _INVENTORY_ENTRY), lambda entry: entry),
    "product-projections": (_query("products", _PRODUCT), _as_projection),
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
    if resource == "product-projections":
        # REST lists published products only; `products` lists all, and a never published one has no data.
        variables["where"] = " and ".join([_PUBLISHED, *([f"({variables['where']})"] if "where" in variables else [])])
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
        raise _error_of(response, errors)
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


def _error_of(response: HttpResponse, errors: Any) -> HubError:
    first = errors[0] if isinstance(errors, list) and isinstance(errors[0], dict) else {}
    code = str((first.get("extensions") or {}).get("code") or "no code")
    message = redacted(f"{response.endpoint}: {first.get('message') or 'no message'} ({code})", response)
    if code in _TRANSIENT:
        return SystemUnavailable(response.system, message)
    return SystemRefused(response.system, response.status, message)
