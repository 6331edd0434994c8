"""
Actions on commercetools: read stock and orders, set a quantity, change the state of an order.

The vendor knows no idempotency keys. Each update names the version that it changes and is refused for any other, so a
repetition has no second effect; what became of a lost answer is read from the record. A read of one record is up to
date at once, as the vendor promises; a query may lag, so no outcome is resolved by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from crossdock.connectors.commercetools.client import PAGE_RECORDS, Commercetools
from crossdock.connectors.commercetools.field_types import Int64, Reference
from crossdock.connectors.commercetools.predicates import quoted
from crossdock.http.response import HttpResponse
from crossdock.integrations.actions.model import Document
from crossdock.integrations.actions.ports import Effect, ReadBack, Sighting, WriteAction, WriteRequest


class _Entry(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    version: Int64
    sku: str
    quantity_on_stock: Int64
    available_quantity: Int64
    key: str | None = None
    supply_channel: Reference | None = None


class _Order(msgspec.Struct, frozen=True, rename="camel"):
    """An order without its customer: the answer of an action is stored for its repetition."""

    id: str
    version: Int64
    order_state: str
    order_number: str | None = None
    payment_state: str | None = None
    shipment_state: str | None = None


class _EntriesPage(msgspec.Struct, frozen=True):
    results: list[_Entry]


# Made once, here: the API server's threads run actions (core/decoding.py).
_decode_entry = msgspec.json.Decoder(_Entry).decode
_decode_order = msgspec.json.Decoder(_Order).decode
_decode_entries = msgspec.json.Decoder(_EntriesPage).decode


def _entry_document(entry: _Entry) -> Document:
    channel = entry.supply_channel.id if entry.supply_channel else None
    return {**msgspec.structs.asdict(entry), "supply_channel": channel}


def _entry(response: HttpResponse) -> Document:
    return _entry_document(response.decoded(_decode_entry))


def _order(response: HttpResponse) -> Document:
    return msgspec.structs.asdict(response.decoded(_decode_order))


def _entry_path(shop: Commercetools, given: Document) -> str:
    return shop.path_by("inventory", "key", given["key"])


def _order_path(shop: Commercetools, given: Document) -> str:
    return shop.path_by("orders", "order-number", given["order_number"])


def get_inventory(shop: Commercetools, given: Document) -> Document:
    """Read the inventory entries of a SKU: one for each supply channel."""
    query = {"where": f"sku = {quoted(given['sku'])}", "limit": PAGE_RECORDS, "withTotal": "false"}
    page = shop.http.get(shop.path("inventory"), query, lambda response: response.decoded(_decode_entries))
    return {"entries": [_entry_document(entry) for entry in page.results]}


def get_inventory_entry(shop: Commercetools, given: Document) -> Document:
    """Read one inventory entry by its key."""
    return shop.http.get(_entry_path(shop, given), {}, _entry)


def get_order(shop: Commercetools, given: Document) -> Document:
    """Read one order by its number."""
    return shop.http.get(_order_path(shop, given), {}, _order)


def _update(given: Document, action: Mapping[str, Any]) -> dict[str, Any]:
    return {"version": given["version"], "actions": [action]}


def _judge(field: str, wanted: str) -> Callable[[Document, Document], Sighting]:
    """Build the function that compares the *field* of the record with the field *wanted* of the input."""

    def judge(given: Document, record: Document) -> Sighting:
        # A version before that of the request is an old copy, such as a fallback's.
        if record[field] == given[wanted] and record["version"] >= given["version"]:
            return Sighting(Effect.VISIBLE, record)
        return Sighting(Effect.ABSENT if record["version"] == given["version"] else Effect.UNCLEAR)

    return judge


SET_INVENTORY_QUANTITY = WriteAction(
    request=lambda shop, given: WriteRequest(
        "POST", _entry_path(shop, given), _update(given, {"action": "changeQuantity", "quantity": given["quantity"]})
    ),
    output_of=_entry,
    read_back=ReadBack(input_of=lambda given: {"key": given["key"]}, judge=_judge("quantity_on_stock", "quantity")),
)

CHANGE_ORDER_STATE = WriteAction(
    request=lambda shop, given: WriteRequest(
        "POST", _order_path(shop, given), _update(given, {"action": "changeOrderState", "orderState": given["state"]})
    ),
    output_of=_order,
    read_back=ReadBack(
        input_of=lambda given: {"order_number": given["order_number"]}, judge=_judge("order_state", "state")
    ),
)
