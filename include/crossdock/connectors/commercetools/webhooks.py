"""
The messages of a commercetools subscription, delivered as webhooks.

A subscription sends to a queue; what forwards its messages here signs them: a push of Google Pub/Sub, AWS SNS, Azure Event
Grid, or a program. It sends all types of the resources that it names, so what they mean follows from the resource, unless the
type has a meaning of its own. A message comes as it is, or as the data of a CloudEvent or of an event of Event Grid.
Source: the vendor's OpenAPI, schemas Message, MessageDeliveryPayload, ResourceUpdatedDeliveryPayload and CloudEventsPayload.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from crossdock.commerce.inventory.events import STOCK_RAN_OUT, StockRanOut
from crossdock.connectors.commercetools.field_types import Instant, Reference
from crossdock.core.decoding import prepare
from crossdock.core.errors import BadRequest
from crossdock.events.model import NewEvent
from crossdock.events.webhooks_in.ports import Delivery, FetchKeys, IsEvent, Webhook

#: What a CloudEvent and an event of Event Grid have, and no message.
_ENVELOPES = {"specversion", "eventType"}


class Resource(msgspec.Struct, frozen=True, rename="camel"):
    type_id: str
    id: str


class Message(msgspec.Struct, frozen=True, rename="camel"):
    """A message (`Message`, with an id and a type) or a change (`ResourceUpdated`, without both)."""

    resource: Resource
    id: str | None = None
    type: str | None = None


class OutOfStock(msgspec.Struct, frozen=True, rename="camel"):
    """The message `InventoryEntryOutOfStock`."""

    id: str
    created_at: Instant
    resource: Resource
    sku: str
    supply_channel: Reference | None = None


prepare(Message, OutOfStock)


def _types_of(delivery: Delivery) -> Sequence[str]:
    message = _read(delivery, Message)
    return [*filter(None, [message.type]), message.resource.type_id]


def _message_id(delivery: Delivery) -> str:
    return _read(delivery, Message).id or delivery.id


def _resource_id(delivery: Delivery) -> Sequence[str]:
    # By id: a message need not have a key, and a customer's never has the e-mail address.
    return [_read(delivery, Message).resource.id]


def _stock_ran_out(delivery: Delivery) -> Sequence[NewEvent]:
    message = _read(delivery, OutOfStock)
    channel = message.supply_channel.id if message.supply_channel else None
    event = STOCK_RAN_OUT.event(
        StockRanOut(sku=message.sku, supply_channel=channel),
        source=f"/integrations/{delivery.integration}",
        subject=f"inventory/{message.resource.id}",
        time=message.created_at,
        event_id=message.id,
    )
    return [event]


def _payload(document: Any) -> Any:
    if isinstance(document, dict) and _ENVELOPES & document.keys() and isinstance(document.get("data"), dict):
        return document["data"]
    return document


def _read(delivery: Delivery, message_type: type[Any]) -> Any:
    try:
        return msgspec.convert(_payload(delivery.document), message_type)
    except msgspec.ValidationError as error:
        raise BadRequest(f"The body is not a message of a commercetools subscription: {error}") from error


WEBHOOK = Webhook(
    types_of=_types_of,
    message_id=_message_id,
    meanings={
        # A moment later the record may say something else: only the message tells that it happened.
        "InventoryEntryOutOfStock": IsEvent((STOCK_RAN_OUT.name,), _stock_ran_out),
        "inventory-entry": FetchKeys("inventory", _resource_id, by_id=True),
        "product": FetchKeys("products", _resource_id, by_id=True),
        "standalone-price": FetchKeys("prices", _resource_id, by_id=True),
        "order": FetchKeys("orders", _resource_id, by_id=True),
        "customer": FetchKeys("customers", _resource_id, by_id=True),
    },
)
