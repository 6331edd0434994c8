"""Update what follows from stock events: the read model `sku_availability`, and the stock that the hub sells from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from crossdock.commerce.inventory import repository, reservation_repository
from crossdock.commerce.inventory.repository import StockState
from crossdock.core.errors import BadEvent
from crossdock.db.database import Work
from crossdock.events.model import Event


class _Stock(msgspec.Struct):
    """The fields of `crossdock.stock.changed` that are needed here; the others are not decoded."""

    id: str
    version: int
    sku: str
    available_quantity: int
    created_at: datetime | None = None
    supply_channel: str | None = None


_decode = msgspec.json.Decoder(_Stock).decode


def apply(work: Work, events: Sequence[Event]) -> None:
    """
    Upsert the stock levels of all *events* in one statement. Idempotent: an older version never replaces a newer one.

    Raises:
        BadEvent: the data do not describe a stock level; a retry would not help.

    """
    repository.upsert(work, [_state(event) for event in events])


def apply_to_stock(work: Work, events: Sequence[Event]) -> None:
    """
    Take over what platforms say of their stock into the stock that the hub sells from. Idempotent, in any order.

    Raises:
        BadEvent: the data do not describe a stock level; a retry would not help.

    """
    reservation_repository.set_on_hand(work, [_state(event) for event in events])


def _state(event: Event) -> StockState:
    try:
        stock = _decode(event.data)
    except msgspec.DecodeError as error:
        raise BadEvent(event.id, event.type, str(error)) from error
    return StockState(
        event.source,
        stock.id,
        stock.sku,
        stock.supply_channel,
        stock.available_quantity,
        stock.version,
        event.time,
        stock.created_at,
    )
