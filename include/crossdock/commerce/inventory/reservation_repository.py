"""SQL of the stock that the hub sells from, and of what is held for orders."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import msgspec
from psycopg.rows import kwargs_row

from crossdock.commerce.inventory.repository import StockState
from crossdock.commerce.inventory.sourcing import Part, Place
from crossdock.core.decoding import prepare
from crossdock.db.database import Work


class HoldState(StrEnum):
    HELD = "held"
    SOLD = "sold"
    #: Sold, and the platform has subtracted it itself: its figure has it, the hub subtracts it no more.
    COUNTED = "counted"
    RELEASED = "released"


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Units of a SKU in a warehouse that are held for an order, or were sold to it."""

    order_id: str
    sku: str
    warehouse_id: str
    quantity: int
    state: HoldState
    expires_at: datetime | None
    held_at: datetime
    changed_at: datetime


class SoldPart(NamedTuple):
    """Units that were sold to an order, which their platform may have counted."""

    sku: str
    warehouse_id: str
    quantity: int
    #: The platform's ID of the stock level; None where it never said one.
    entry_id: str | None


class Figures(NamedTuple):
    """The stock of a SKU in a warehouse: available + held + sold = on_hand + missing."""

    sku: str
    warehouse_id: str
    on_hand: int
    available: int
    held: int
    sold: int
    missing: int


prepare(Hold)

_HOLD = b"order_id, sku, warehouse_id, quantity, state, expires_at, held_at, changed_at"

_ADD_WAREHOUSES = b"""
INSERT INTO warehouse (warehouse_id) SELECT DISTINCT unnest(%(warehouse_id)s::text[]) ON CONFLICT DO NOTHING
"""

#: What the platform says replaces what it said before; what the hub holds and sold stays. A late event changes nothing: one of
#: an older version, or of an entry that was removed and made anew since, which begins at version 1.
_SET_ON_HAND = b"""
INSERT INTO stock AS kept (warehouse_id, sku, on_hand, available, missing, version, as_of, entry_id, entry_created_at)
SELECT warehouse_id, sku, on_hand, greatest(on_hand, 0), greatest(-on_hand, 0), version, as_of, entry_id, created_at
  FROM unnest(%(warehouse_id)s::text[], %(sku)s::text[], %(on_hand)s::bigint[], %(version)s::bigint[],
              %(as_of)s::timestamptz[], %(entry_id)s::text[], %(created_at)s::timestamptz[])
       AS said (warehouse_id, sku, on_hand, version, as_of, entry_id, created_at)
 ORDER BY sku, warehouse_id
ON CONFLICT (sku, warehouse_id) DO UPDATE
   SET on_hand = excluded.on_hand, version = excluded.version, as_of = excluded.as_of, entry_id = excluded.entry_id,
       entry_created_at = coalesce(excluded.entry_created_at, kept.entry_created_at),
       available = greatest(excluded.on_hand - kept.held - kept.sold, 0),
       missing = greatest(kept.held + kept.sold - excluded.on_hand, 0)
 WHERE (coalesce(kept.entry_created_at, excluded.entry_created_at, '-infinity'), kept.version, kept.as_of)
     < (coalesce(excluded.entry_created_at, kept.entry_created_at, '-infinity'), excluded.version, excluded.as_of)
"""

#: In one order for all, so that no two orders wait for each other. What an integration said that is removed counts for nothing,
#: nor does what a second one says of a warehouse.
_LOCK = b"""
SELECT stock.warehouse_id, priority, country, parcel_cost_minor, sku, available
  FROM stock JOIN warehouse USING (warehouse_id)
 WHERE sku = ANY(%(skus)s) AND reserved_by = 'hub' AND same_as IS NULL
   AND NOT EXISTS (SELECT FROM removed_integration gone
                    WHERE split_part(stock.warehouse_id, ':', 1) = '/integrations/' || gone.integration_id)
 ORDER BY sku, stock.warehouse_id FOR UPDATE OF stock
"""

#: A SKU has one reserver: the platform, if it reserves it in any warehouse.
_RESERVED_ELSEWHERE = b"""
SELECT DISTINCT sku FROM stock JOIN warehouse USING (warehouse_id)
 WHERE sku = ANY(%(skus)s) AND reserved_by = 'platform' AND same_as IS NULL
   AND NOT EXISTS (SELECT FROM removed_integration gone
                    WHERE split_part(stock.warehouse_id, ':', 1) = '/integrations/' || gone.integration_id)
"""

#: All parts of an order run out at one instant (`now()` is that of the transaction): none is given back without the others.
_HOLD_PARTS = b"""
WITH parts AS (SELECT * FROM unnest(%(sku)s::text[], %(warehouse_id)s::text[], %(quantity)s::bigint[])
                             AS part (sku, warehouse_id, quantity)),
taken AS (UPDATE stock SET available = stock.available - parts.quantity, held = stock.held + parts.quantity
            FROM parts WHERE (stock.sku, stock.warehouse_id) = (parts.sku, parts.warehouse_id))
INSERT INTO stock_hold AS known (order_id, sku, warehouse_id, quantity, expires_at)
SELECT %(order_id)s, sku, warehouse_id, quantity, now() + %(life)s::interval FROM parts
ON CONFLICT (order_id, sku, warehouse_id) DO UPDATE
   SET quantity = excluded.quantity, state = 'held', expires_at = excluded.expires_at, changed_at = clock_timestamp()
"""

_HOLDS = b"SELECT " + _HOLD + b" FROM stock_hold WHERE order_id = %(order_id)s ORDER BY sku, warehouse_id"

#: The stock first, in the order of `_LOCK`, then the holds: as everybody else.
_LOCK_STOCK_OF = b"""
SELECT FROM stock WHERE (sku, warehouse_id) IN (SELECT sku, warehouse_id FROM stock_hold
                                                 WHERE order_id = ANY(%(order_ids)s) AND state <> 'released')
 ORDER BY sku, warehouse_id FOR UPDATE
"""

_KEEP = b"""
UPDATE stock_hold SET expires_at = NULL, changed_at = clock_timestamp()
 WHERE order_id = %(order_id)s AND state = 'held'
"""

_SELL = b"""
WITH moved AS (UPDATE stock_hold SET state = 'sold', expires_at = NULL, changed_at = clock_timestamp()
                WHERE order_id = %(order_id)s AND state = 'held' RETURNING sku, warehouse_id, quantity)
UPDATE stock SET held = held - quantity, sold = sold + quantity
  FROM moved WHERE (stock.sku, stock.warehouse_id) = (moved.sku, moved.warehouse_id)
"""

_SOLD_PARTS = b"""
SELECT sku, warehouse_id, quantity, entry_id FROM stock_hold JOIN stock USING (sku, warehouse_id)
 WHERE order_id = %(order_id)s AND state = 'sold' ORDER BY sku, warehouse_id
"""

#: The platform's figure that is here has these sales already.
_COUNT = b"""
WITH moved AS (UPDATE stock_hold SET state = 'counted', changed_at = clock_timestamp()
                WHERE order_id = %(order_id)s AND state = 'sold'
                  AND (sku, warehouse_id) IN (SELECT * FROM unnest(%(sku)s::text[], %(warehouse_id)s::text[]))
               RETURNING sku, warehouse_id, quantity)
UPDATE stock SET sold = sold - quantity, available = greatest(on_hand - held - sold + quantity, 0),
       missing = greatest(held + sold - quantity - on_hand, 0)
  FROM moved WHERE (stock.sku, stock.warehouse_id) = (moved.sku, moved.warehouse_id)
"""

#: Units that somebody else has sold meanwhile fill what is missing first, and only then can be sold again.
#: What the platform has counted is given back by the platform: its figure rises when it takes the units back.
_RELEASE = b"""
WITH moved AS (UPDATE stock_hold now SET state = 'released', expires_at = NULL, changed_at = clock_timestamp()
                 FROM stock_hold before
                WHERE (now.order_id, now.sku, now.warehouse_id) = (before.order_id, before.sku, before.warehouse_id)
                  AND now.order_id = ANY(%(order_ids)s) AND now.state <> 'released'
                  AND (NOT %(expired)s OR now.state = 'held' AND now.expires_at < now())
               RETURNING now.order_id, now.sku, now.warehouse_id, now.quantity, before.state AS was),
freed AS (SELECT sku, warehouse_id, sum(quantity) FILTER (WHERE was = 'held') AS held,
                 sum(quantity) FILTER (WHERE was = 'sold') AS sold, sum(quantity) AS units
            FROM moved WHERE was <> 'counted' GROUP BY sku, warehouse_id),
given_back AS (
    UPDATE stock SET held = stock.held - coalesce(freed.held, 0), sold = stock.sold - coalesce(freed.sold, 0),
           missing = greatest(missing - freed.units, 0), available = available + greatest(freed.units - missing, 0)
      FROM freed WHERE (stock.sku, stock.warehouse_id) = (freed.sku, freed.warehouse_id))
SELECT DISTINCT order_id FROM moved
"""

_EXPIRED = b"""
SELECT DISTINCT order_id FROM (SELECT order_id FROM stock_hold
 WHERE state = 'held' AND expires_at < clock_timestamp() ORDER BY expires_at LIMIT %(limit)s) AS due
"""

_FIGURES = b"""
SELECT sku, warehouse_id, on_hand, available, held, sold, missing FROM stock
 WHERE sku = ANY(%(skus)s) ORDER BY sku, warehouse_id
"""


def set_on_hand(work: Work, states: Iterable[StockState]) -> None:
    """Take over what platforms say of their stock; the newest of each SKU and warehouse counts."""
    newest: dict[tuple[str, str], StockState] = {}
    for state in states:
        place = (state.sku, warehouse_of(state))
        known = newest.get(place)
        if known is None or _age_of(known) < _age_of(state):
            newest[place] = state
    if not newest:
        return
    places = sorted(newest)
    values = {
        "warehouse_id": [warehouse for _, warehouse in places],
        "sku": [sku for sku, _ in places],
        "on_hand": [newest[place].available for place in places],
        "version": [newest[place].version for place in places],
        "as_of": [newest[place].as_of for place in places],
        "entry_id": [newest[place].id for place in places],
        "created_at": [newest[place].created_at for place in places],
    }
    work.execute(_ADD_WAREHOUSES, values)
    work.execute(_SET_ON_HAND, values)


def _age_of(state: StockState) -> tuple[datetime, int, datetime]:
    return state.created_at or datetime.min.replace(tzinfo=UTC), state.version, state.as_of


def warehouse_of(state: StockState) -> str:
    """Name the warehouse of a stock level: its source and its supply channel."""
    return f"{state.source}:{state.warehouse}" if state.warehouse else state.source


def lock_places(work: Work, skus: Collection[str]) -> list[Place]:
    """Read the warehouses that have *skus* and are reserved by the hub, and lock their stock until the transaction ends."""
    found: dict[str, tuple[int, str | None, int, dict[str, int]]] = {}
    for warehouse, priority, country, cost, sku, available in work.execute(_LOCK, {"skus": list(skus)}):
        found.setdefault(warehouse, (priority, country, cost, {}))[3][sku] = available
    return [Place(name, *of) for name, of in found.items()]


def reserved_by_platforms(work: Work, skus: Collection[str]) -> set[str]:
    """Find those of *skus* that a platform reserves by itself."""
    return {row[0] for row in work.execute(_RESERVED_ELSEWHERE, {"skus": list(skus)})}


def hold(work: Work, order_id: str, parts: Sequence[Part], *, life: timedelta) -> None:
    """Hold *parts* for an order for the time *life*. Their stock is locked."""
    values = {
        "order_id": order_id,
        "sku": [part.sku for part in parts],
        "warehouse_id": [part.warehouse_id for part in parts],
        "quantity": [part.quantity for part in parts],
        "life": life,
    }
    work.execute(_HOLD_PARTS, values)


def holds_of(work: Work, order_id: str) -> list[Hold]:
    """List what is, or was, held for an order."""
    rows = work.cursor(row_factory=kwargs_row(_hold)).execute(_HOLDS, {"order_id": order_id})
    return rows.fetchall()


def lock_stock_of(work: Work, order_ids: Collection[str]) -> None:
    """Lock the stock of which units are held for orders, or sold to them."""
    work.execute(_LOCK_STOCK_OF, {"order_ids": list(order_ids)})


def keep(work: Work, order_id: str) -> None:
    """Let what is held for an order not run out any more."""
    work.execute(_KEEP, {"order_id": order_id})


def sell(work: Work, order_id: str) -> None:
    """Turn what is held for an order into what is sold to it."""
    work.execute(_SELL, {"order_id": order_id})


def sold_parts(work: Work, order_id: str) -> list[SoldPart]:
    """List what was sold to an order and is subtracted here."""
    return [SoldPart(*row) for row in work.execute(_SOLD_PARTS, {"order_id": order_id})]


def count(work: Work, order_id: str, places: Collection[tuple[str, str]]) -> None:
    """Subtract no more what was sold to an order at *places* (SKU and warehouse). Their stock is locked, and their figures have it."""
    work.execute(
        _COUNT,
        {
            "order_id": order_id,
            "sku": [sku for sku, _ in places],
            "warehouse_id": [warehouse for _, warehouse in places],
        },
    )


def release(work: Work, order_ids: Collection[str], *, expired: bool = False) -> list[str]:
    """Give back what is held for orders, or was sold to them; with *expired*, only what has run out. Return whose it was."""
    return [row[0] for row in work.execute(_RELEASE, {"order_ids": list(order_ids), "expired": expired})]


def expired(work: Work, *, limit: int) -> list[str]:
    """List orders for which something is held that has run out."""
    return [row[0] for row in work.execute(_EXPIRED, {"limit": limit})]


def figures(work: Work, skus: Collection[str]) -> list[Figures]:
    """Read the stock of *skus*, by warehouse."""
    return [Figures(*row) for row in work.execute(_FIGURES, {"skus": list(skus)})]


def _hold(**fields: object) -> Hold:
    return msgspec.convert(fields, Hold)
