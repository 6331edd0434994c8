"""Events: what happened, where it stands in the store, and under which id others know it."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

from crossdock.core.errors import BadRequest
from crossdock.core.hints import Hint, HintId

#: The types that the hub writes. Past tense; a subscriber names those that it hears.
STOCK_CHANGED = "crossdock.stock.changed"
PRODUCT_CHANGED = "crossdock.product.changed"
ORDER_CHANGED = "crossdock.order.changed"
WEBHOOK_RECEIVED = "crossdock.webhook.received"


class Position(NamedTuple):
    """
    A place in the store. Events are in the order of these three, never of `position` alone.

    `xid` is the transaction that wrote the event, `position` its number within the store, and `epoch`
    counts up when the database is restored and transactions are numbered anew.
    """

    epoch: int
    xid: int
    position: int


#: Before the first event.
ORIGIN = Position(0, 0, 0)


class Event(msgspec.Struct, frozen=True):
    """An event as the store has it. `data` is its JSON text, decoded by whoever needs it, once."""

    epoch: int
    xid: int
    position: int
    event_id: str | None
    source: str
    type: str
    subject: str | None
    time: datetime
    partition_key: str
    correlation_id: str | None
    schema_version: int
    data: str

    @property
    def at(self) -> Position:
        return Position(self.epoch, self.xid, self.position)

    @property
    def id(self) -> str:
        """Unique with the source: the maker's own id, or the event's place in the store."""
        return self.event_id or f"{self.epoch}-{self.position}"


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event to be written; the store gives it its place."""

    source: str
    type: str
    subject: str | None
    #: Aware.
    time: datetime
    #: Events with the same key are delivered in order.
    partition_key: str
    #: JSON text.
    data: str
    #: The maker's id, for events from outside. None for the hub's own: their place is their id.
    event_id: str | None = None
    correlation_id: str | None = None
    schema_version: int = 1


def place_of(event_id: str) -> tuple[int, int]:
    """
    Epoch and position of one of the hub's own event ids.

    Raises:
        BadRequest: it is not of the form `<epoch>-<position>`.

    """
    epoch, dash, position = event_id.partition("-")
    if not (dash and epoch.isascii() and epoch.isdigit() and position.isascii() and position.isdigit()):
        raise BadRequest(
            f"{event_id!r} is no event id of the hub; they look like 1-4711", hint=Hint(HintId.LIST_EVENTS)
        )
    return int(epoch), int(position)
