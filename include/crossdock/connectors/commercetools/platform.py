"""
commercetools as the platform on which orders are placed: how far it has an order, and the hub's states written to it.

Each write names the version that it changes and puts the hub's mark into the order's `syncInfo`, in one update. So a
request has one effect at most, and the mark says whether it had it, whatever happened to the order since.
"""

from __future__ import annotations

from typing import Any

import msgspec

from crossdock.connectors.commercetools.client import Commercetools
from crossdock.connectors.commercetools.field_types import Int64, Reference
from crossdock.core.paths import path_of
from crossdock.http.response import HttpResponse
from crossdock.integrations.actions.model import Document
from crossdock.integrations.actions.ports import Effect, ReadBack, Sighting, WriteAction, WriteRequest

#: The key of the channel, with the role OrderExport, for the hub's marks.
EXPORT_CHANNEL = "crossdock"
#: The modes in which the platform does not take a line's units from its stock.
_NOT_COUNTED = (None, "None")


class _Sync(msgspec.Struct, frozen=True, rename="camel"):
    external_id: str | None = None


class _Variant(msgspec.Struct, frozen=True):
    sku: str | None = None


class _Line(msgspec.Struct, frozen=True, rename="camel"):
    quantity: Int64
    variant: _Variant
    inventory_mode: str | None = None
    supply_channel: Reference | None = None


class _Order(msgspec.Struct, frozen=True, rename="camel"):
    version: Int64
    order_state: str
    inventory_mode: str | None = None
    sync_info: list[_Sync] = []
    line_items: list[_Line] = []


class _Level(msgspec.Struct, frozen=True, rename="camel"):
    version: Int64
    available_quantity: Int64
    created_at: str
    last_modified_at: str


# Made once, here: the API server's threads run actions (core/decoding.py).
_decode_order = msgspec.json.Decoder(_Order).decode
_decode_level = msgspec.json.Decoder(_Level).decode


def _order(response: HttpResponse) -> Document:
    order = response.decoded(_decode_order)
    return {
        "order": {
            "version": str(order.version),
            "state": order.order_state.lower(),
            "marks": [known.external_id for known in order.sync_info if known.external_id],
            "counted": [
                {
                    "sku": line.variant.sku,
                    "supply_channel": line.supply_channel.id if line.supply_channel else None,
                    "quantity": line.quantity,
                }
                for line in order.line_items
                if line.variant.sku and (line.inventory_mode or order.inventory_mode) not in _NOT_COUNTED
            ],
        }
    }


def _level(response: HttpResponse) -> Document:
    level = response.decoded(_decode_level)
    return {
        "level": {
            "version": level.version,
            "available": level.available_quantity,
            "created_at": level.created_at,
            "modified_at": level.last_modified_at,
        }
    }


def _order_path(shop: Commercetools, given: Document) -> str:
    return shop.path_by("orders", "order-number", given["number"])


def find_order(shop: Commercetools, given: Document) -> Document:
    """Read how far the platform has an order."""
    return shop.find(_order_path(shop, given), _order) or {"order": None}


def get_stock_level(shop: Commercetools, given: Document) -> Document:
    """Read one inventory entry by its ID: the vendor's query by SKU may lag, this does not."""
    return shop.find(shop.path(path_of("inventory", given["id"]).lstrip("/")), _level) or {"level": None}


def _update(given: Document) -> dict[str, Any]:
    paid = [] if given["state"] == "cancelled" else [{"action": "changePaymentState", "paymentState": "Paid"}]
    return {
        "version": int(given["version"]),
        "actions": [
            {"action": "changeOrderState", "orderState": given["state"].capitalize()},
            *paid,
            {
                "action": "updateSyncInfo",
                "channel": {"typeId": "channel", "key": EXPORT_CHANNEL},
                "externalId": given["mark"],
            },
        ],
    }


def _judge(given: Document, found: Document) -> Sighting:
    """Look for the mark. A request that did not leave it had no effect; it can have one as long as its version is still there."""
    order = found["order"]
    if order is None:
        return Sighting(Effect.UNCLEAR)
    if given["mark"] in order["marks"]:
        return Sighting(Effect.VISIBLE, found)
    return Sighting(Effect.ABSENT if order["version"] == given["version"] else Effect.MISSED)


WRITE_ORDER_STATE = WriteAction(
    request=lambda shop, given: WriteRequest("POST", _order_path(shop, given), _update(given)),
    output_of=_order,
    read_back=ReadBack(input_of=lambda given: {"number": given["number"]}, judge=_judge),
)
