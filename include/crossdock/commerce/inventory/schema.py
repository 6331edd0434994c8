"""The record of a stock level."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from crossdock.db.columns import Column
from crossdock.sync.tables import EntityTable


class StockLevels(NamedTuple):
    """
    Stock levels as columns: one sequence per field; the fields are the table's columns, in their order.

    Columns, because there are millions of records: an object for each would cost as much as the rest of their sync.
    """

    #: The source's id of the entry; opaque.
    id: Sequence[str]
    #: Incremented by the source at each change; a lower version never overwrites a higher one.
    version: Sequence[int]
    sku: Sequence[str]
    #: The supply channel (warehouse); None where the source has one stock for all channels.
    supply_channel: Sequence[str | None]
    #: Physical units. May be 0, never negative.
    quantity_on_stock: Sequence[int]
    #: Units that can still be sold: physical units minus reservations.
    available_quantity: Sequence[int]
    #: Days until new stock arrives; None when unknown.
    restockable_in_days: Sequence[int | None]
    #: When the next delivery is due; None when unknown.
    expected_delivery_at: Sequence[datetime | None]
    created_at: Sequence[datetime]
    last_modified_at: Sequence[datetime]
    #: Changes by cleansing, as JSON: field → original value and the steps that changed it. None without changes.
    lineage: Sequence[str | None]


INVENTORY_TABLE = EntityTable(
    name="inventory",
    columns=(
        Column("id", "text"),
        Column("version", "int8"),
        Column("sku", "text"),
        Column("supply_channel", "text"),
        Column("quantity_on_stock", "int8"),
        Column("available_quantity", "int8"),
        Column("restockable_in_days", "int8"),
        Column("expected_delivery_at", "timestamptz"),
        Column("created_at", "timestamptz"),
        Column("last_modified_at", "timestamptz"),
        Column("lineage", "jsonb"),
    ),
    event_type="crossdock.stock.changed",
    partition_column="sku",
)
