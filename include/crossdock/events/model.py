"""The records of the event engine: events, new events, and positions in the store."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

from crossdock.core.errors import BadRequest
from crossdock.core.hints import Hint, HintId

#: The types that the hub publishes. Past tense; a subscriber names the types that it receives.
STOCK_CHANGED = "crossdock.stock.changed"
PRODUCT_CHANGED = "crossdock.product.changed"
ORDER_CHANGED = "crossdock.order.changed"
WEBHOOK_RECEIVED = "crossdock.webhook.received"
WEBHOOK_IGNORED = "crossdock.webhook.ignored"
WEBHOOK_HANDSHAKE = "crossdock.webhook.handshake"


class Position(NamedTuple):
    """
    A position in the store. Events are ordered by these three, never by `position` alone.

    `xid` is the transaction that wrote the event, `position` its number within the store, and `epoch`
    counts up when the database is restored and transaction numbers start again.
    """

    epoch: int
    xid: int
    position: int


#: Before the first event.
ORIGIN = Position(0, 0, 0)
#: After all that can ever be stored.
END = Position(2**31 - 1, 2**64 - 1, 2**63 - 1)


class Event(msgspec.Struct, frozen=True):
    """An event as the store has it. `data` is JSON text, decoded only where needed."""

    epoch: int
    xid: int
    position: int
    #: The sender's ID; None for the hub's own events.
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
        """The position in the store."""
        return Position(self.epoch, self.xid, self.position)

    @property
    def id(self) -> str:
        """The hub's own ID, by which an event is found. What its sender calls it is `event_id`."""
        return f"{self.epoch}-{self.position}"


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event to append; the store assigns its position."""

    source: str
    type: str
    subject: str | None
    #: Time-zone aware.
    time: datetime
    #: Events with the same key are delivered in order.
    partition_key: str
    #: JSON text.
    data: str
    #: The sender's ID, by which a repeated event of another system is known. None for the hub's own events.
    event_id: str | None = None
    correlation_id: str | None = None
    schema_version: int = 1


def parse_event_id(event_id: str) -> tuple[int, int]:
    """
    Parse one of the hub's own event ids into epoch and position.

    Raises:
        BadRequest: it does not have the form `<epoch>-<position>`.

    """
    epoch, dash, position = event_id.partition("-")
    if not (dash and epoch.isascii() and epoch.isdigit() and position.isascii() and position.isdigit()):
        raise BadRequest(
            f"{event_id!r} is not an event ID (expected something like 1-4711)", hint=Hint(HintId.LIST_EVENTS)
        )
    return int(epoch), int(position)
