"""SQL of the orders that were placed at the hub."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import psycopg
from psycopg.rows import kwargs_row
from psycopg.types.json import Jsonb

from crossdock.commerce.orders.placement import NewOrder, OrderState, PlacedOrder
from crossdock.core.decoding import prepare
from crossdock.core.errors import NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Work

prepare(PlacedOrder)

_ORDER = b"""order_id, reference, state, currency, total_minor, country, email, customer_name, lines, payment_methods,
       return_url, platform, customer_reference, reason, created_at, created_by, changed_at"""

#: Of two callers with one reference, the second finds the order of the first. The payment and the mail have the ID for their
#: reference, so it is made from what no restore of a backup changes: an order that is placed again is not charged again.
_ADD = (
    b"""
INSERT INTO placed_order (order_id, reference, currency, total_minor, country, email, customer_name, lines,
                          payment_methods, return_url, platform, customer_reference, created_by)
SELECT 'ord_' || left(encode(sha256(convert_to(concat_ws(E'\\n', installation_id, %(reference)s::text), 'UTF8')), 'hex'), 32),
       %(reference)s, %(currency)s, %(total_minor)s, %(country)s, %(email)s, %(customer_name)s, %(lines)s,
       %(payment_methods)s, %(return_url)s, %(platform)s, %(customer_reference)s, %(actor)s
  FROM installation
ON CONFLICT (reference) DO NOTHING
RETURNING """
    + _ORDER
)

_GET = b"SELECT " + _ORDER + b" FROM placed_order WHERE order_id = %(order_id)s"
_BY_REFERENCE = b"SELECT " + _ORDER + b" FROM placed_order WHERE reference = %(reference)s"

_PAGE = (
    b"SELECT "
    + _ORDER
    + b""" FROM placed_order
 WHERE (%(state)s::text IS NULL OR state = %(state)s) AND (%(reference)s::text IS NULL OR reference = %(reference)s)
   AND (%(before_at)s::timestamptz IS NULL OR (created_at, order_id) < (%(before_at)s, %(before_id)s))
 ORDER BY created_at DESC, order_id DESC LIMIT %(limit)s"""
)

_SET_STATE = b"""
UPDATE placed_order SET state = %(state)s, reason = coalesce(%(reason)s, reason), changed_at = clock_timestamp()
 WHERE order_id = %(order_id)s
"""


def add(work: Work, new: NewOrder, *, actor: str) -> tuple[PlacedOrder, bool]:
    """Add an order; return it, and whether it is new: false if its reference was there before."""
    values = {
        **{name: getattr(new, name) for name in new.__struct_fields__},
        "lines": Jsonb(msgspec.to_builtins(new.lines)),
        "payment_methods": Jsonb(dict(new.payment_methods)),
        "total_minor": new.total_minor,
        "actor": actor,
    }
    if added := _orders(work).execute(_ADD, values).fetchone():
        return added, True
    found = _orders(work).execute(_BY_REFERENCE, {"reference": new.reference}).fetchone()
    assert found is not None  # noqa: S101  a conflict found it
    return found, False


def get(work: Work, order_id: str) -> PlacedOrder:
    """
    Read an order.

    Raises:
        NotFound: there is none with that ID.

    """
    found = _orders(work).execute(_GET, {"order_id": order_id}, prepare=True).fetchone()
    if found is None:
        raise NotFound(f"There is no order {order_id!r}", hint=Hint(HintId.LIST_ORDERS))
    return found


def page(
    work: Work,
    *,
    state: OrderState | None = None,
    reference: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 100,
) -> list[PlacedOrder]:
    """List orders, newest first: at most *limit* before a time and ID."""
    at, order_id = before or (None, None)
    values = {"state": state, "reference": reference, "before_at": at, "before_id": order_id, "limit": limit}
    return _orders(work).execute(_PAGE, values).fetchall()


def set_state(work: Work, order_id: str, state: OrderState, reason: str | None) -> None:
    """Write the state of an order, and why if there is a reason."""
    work.execute(_SET_STATE, {"order_id": order_id, "state": state, "reason": reason})


def _orders(work: Work) -> psycopg.Cursor[PlacedOrder]:
    return work.cursor(row_factory=kwargs_row(_order))


def _order(**fields: Any) -> PlacedOrder:
    return msgspec.convert(fields, PlacedOrder)
