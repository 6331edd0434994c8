"""SQL of the warehouses as they are declared. Their IDs are stored as `stock` has them, with the prefix of a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from psycopg.rows import dict_row

from crossdock.db.database import Work

_SOURCES = "/integrations/"

_COLUMNS = b"""
SELECT substr(warehouse_id, length('/integrations/') + 1) AS warehouse_id, name, priority, country, parcel_cost_minor, reserved_by,
       substr(same_as, length('/integrations/') + 1) AS same_as, version
  FROM warehouse
"""

#: What an integration said that is not one of the registry, as tests do, has no such ID.
_LIST = _COLUMNS + b" WHERE starts_with(warehouse_id, '/integrations/') ORDER BY warehouse_id"

_FIND = _COLUMNS + b" WHERE warehouse_id = %(warehouse_id)s"

_PUT = b"""
INSERT INTO warehouse (warehouse_id, name, priority, country, parcel_cost_minor, reserved_by, same_as)
VALUES (%(warehouse_id)s, %(name)s, %(priority)s, %(country)s, %(parcel_cost_minor)s, %(reserved_by)s, %(same_as)s)
ON CONFLICT (warehouse_id) DO UPDATE
   SET name = excluded.name, priority = excluded.priority, country = excluded.country, parcel_cost_minor = excluded.parcel_cost_minor,
       reserved_by = excluded.reserved_by, same_as = excluded.same_as, version = warehouse.version + 1
"""

#: Two declarations at once could each see the other as none. An order that is taking stock has ended before, and the next one
#: sees what is declared: a hold that is not committed yet would be missing in what is in use.
_LOCK_ALL = b"LOCK TABLE stock, warehouse IN EXCLUSIVE MODE"

_DOUBLES = b"""
SELECT EXISTS (SELECT FROM warehouse WHERE warehouse_id = %(same_as)s),
       EXISTS (SELECT FROM warehouse WHERE warehouse_id = %(same_as)s AND same_as IS NOT NULL),
       EXISTS (SELECT FROM warehouse WHERE same_as = %(warehouse_id)s),
       (SELECT coalesce(sum(held + sold), 0)::bigint FROM stock
         WHERE warehouse_id = %(warehouse_id)s AND (held > 0 OR sold > 0))
"""


class Doubles(NamedTuple):
    """What there is before a warehouse is declared to be another one."""

    is_there: bool
    #: The other one is declared to be yet another.
    is_double: bool
    #: Others are declared to be this one.
    has_doubles: bool
    units_in_use: int


def name_of(warehouse_id: str) -> str:
    """Give the ID by which people know a warehouse, of that under which its stock is stored."""
    return warehouse_id.removeprefix(_SOURCES)


def list_all(work: Work) -> list[dict[str, Any]]:
    """List all that integrations say the stock of, by ID."""
    return work.cursor(row_factory=dict_row).execute(_LIST).fetchall()


def find(work: Work, warehouse_id: str) -> dict[str, Any] | None:
    """Find one; None if there is none."""
    return work.cursor(row_factory=dict_row).execute(_FIND, {"warehouse_id": _SOURCES + warehouse_id}).fetchone()


def lock_all(work: Work) -> None:
    """Let nobody else declare one until the transaction ends."""
    work.execute(_LOCK_ALL)


def doubles(work: Work, warehouse_id: str, same_as: str) -> Doubles:
    """Read what would keep *warehouse_id* from being declared to be *same_as*."""
    values = {"warehouse_id": _SOURCES + warehouse_id, "same_as": _SOURCES + same_as}
    row = work.execute(_DOUBLES, values).fetchone()
    assert row is not None  # noqa: S101  it has no condition
    return Doubles(*row)


def put(work: Work, warehouse_id: str, declared: Mapping[str, Any]) -> None:
    """Store what is declared of a warehouse."""
    same_as = declared["same_as"]
    work.execute(
        _PUT,
        {
            **declared,
            "warehouse_id": _SOURCES + warehouse_id,
            "same_as": None if same_as is None else _SOURCES + same_as,
        },
    )
