"""Keeps `sku_availability`: what can be sold of a sku over all warehouses."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from crossdock.commerce.inventory import repository as availability
from crossdock.commerce.inventory.repository import StockState
from crossdock.core.errors import BadEvent
from crossdock.db.database import Work
from crossdock.events.model import Event


class _Stock(msgspec.Struct):
    """What of `crossdock.stock.changed` is needed here; the rest is not decoded."""

    id: str
    version: int
    sku: str
    available_quantity: int
    supply_channel: str | None = None


_decode = msgspec.json.Decoder(_Stock).decode


def apply(work: Work, events: Sequence[Event]) -> None:
    """
    One statement for all of *events*.

    Raises:
        BadEvent: the data are not those of a stock level; trying again does not help.

    """
    availability.keep(work, [_state(event) for event in events])


def _state(event: Event) -> StockState:
    try:
        stock = _decode(event.data)
    except msgspec.DecodeError as error:
        raise BadEvent(event.id, event.type, str(error)) from error
    return StockState(
        event.source, stock.id, stock.sku, stock.supply_channel, stock.available_quantity, stock.version, event.time
    )
