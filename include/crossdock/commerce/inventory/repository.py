"""SQL of the read model `sku_availability`: units that can be sold per SKU over all warehouses, updated by events."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import msgspec
from psycopg import sql

from crossdock.core.errors import NotFound
from crossdock.db.database import Work


class StockState(NamedTuple):
    """One stock entry, as an event describes it. A higher version is newer."""

    source: str
    id: str
    sku: str
    warehouse: str | None
    available: int
    version: int
    as_of: datetime
    #: When its source made the entry; None where it does not say. A later one is newer, whatever its version.
    created_at: datetime | None = None


class Availability(msgspec.Struct, frozen=True):
    """Units of a SKU that can be sold; integrations that were removed do not count."""

    sku: str
    #: Units over all warehouses, without what is held for orders or sold to them; an oversold warehouse counts as 0.
    available: int
    warehouses: int
    #: The time of the newest stock event, aware.
    as_of: datetime
    #: How many later versions of its stock entries wait in quarantine; the lower figure of the two counts.
    waiting: int
    #: Units over all warehouses, as their sources count them.
    available_at_source: int
    held: int
    #: Sold by the hub, and not yet subtracted by the source.
    sold: int


#: The version guard makes late, repeated and out-of-order events harmless. Of one version, the later event counts: its
#: source compares content.
_UPSERT = b"""
INSERT INTO stock_availability AS kept (source, id, sku, warehouse, available, version, as_of)
SELECT * FROM unnest(%(source)b::text[], %(id)b::text[], %(sku)b::text[], %(warehouse)b::text[],
                     %(available)b::bigint[], %(version)b::bigint[], %(as_of)b::timestamptz[])
ON CONFLICT (id, source) DO UPDATE
   SET sku = excluded.sku, warehouse = excluded.warehouse, available = excluded.available,
       version = excluded.version, as_of = excluded.as_of
 WHERE (kept.version, kept.as_of) < (excluded.version, excluded.as_of)
"""

_GET = b"""
SELECT sku, available, warehouses, as_of, waiting, available_at_source, held, sold FROM sku_availability WHERE sku = %(sku)s
"""

#: A temporary table is found before the real one of the same name: the same upsert also rebuilds the model.
_SHADOW = b"CREATE TEMP TABLE stock_availability (LIKE stock_availability INCLUDING ALL)"
_DIFFERENCES = """
SELECT count(*) FROM (
    (SELECT * FROM {model} EXCEPT SELECT * FROM pg_temp.stock_availability) UNION ALL
    (SELECT * FROM pg_temp.stock_availability EXCEPT SELECT * FROM {model})) AS rows
"""


def upsert(work: Work, states: Iterable[StockState]) -> None:
    """Upsert *states*, except where the model has a newer version. In id order, so that two batches cannot deadlock."""
    newest: dict[tuple[str, str], StockState] = {}
    for state in states:
        known = newest.get((state.id, state.source))
        if known is None or (known.version, known.as_of) < (state.version, state.as_of):
            newest[state.id, state.source] = state
    if newest:
        columns = zip(*(newest[key] for key in sorted(newest)), strict=True)
        values = dict(zip(StockState._fields, map(list, columns), strict=True))
        del values["created_at"]  # an entry that is made anew has an ID of its own here
        work.execute(_UPSERT, values, prepare=True)


def get(work: Work, sku: str) -> Availability:
    """
    Read the availability of *sku*.

    Raises:
        NotFound: there was no event about it.

    """
    row = work.execute(_GET, {"sku": sku}).fetchone()
    if row is None:
        raise NotFound(
            f"No stock of {sku!r} is known, or its integration was removed. Write the SKU exactly as the source does"
        )
    return Availability(*row)


def create_shadow(work: Work) -> None:
    """Create an empty copy, which `upsert` fills from now on in this connection; the model itself is untouched."""
    work.execute(_SHADOW)


def lock(work: Work, schema: str) -> None:
    """Lock the model against writes until the transaction ends; it can still be read."""
    work.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(_model(schema)))


def differences(work: Work, schema: str) -> int:
    """Count the rows in which the model and its copy differ; a changed row counts twice."""
    row = work.execute(sql.SQL(_DIFFERENCES).format(model=_model(schema))).fetchone()
    return int(row[0]) if row else 0


def replace(work: Work, schema: str) -> None:
    """Replace the rows of the model with the rows of the copy."""
    work.execute(sql.SQL("DELETE FROM {}").format(_model(schema)))
    work.execute(sql.SQL("INSERT INTO {} SELECT * FROM pg_temp.stock_availability").format(_model(schema)))


def _model(schema: str) -> sql.Identifier:
    return sql.Identifier(schema, "stock_availability")
