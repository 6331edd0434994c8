"""Stock, as the hub keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from crossdock.db.columns import Column
from crossdock.sync.tables import EntityTable


class StockLevels(NamedTuple):
    """
    Stock keeping units in warehouses, one sequence a field; the fields are the table's columns, in their order.

    As columns, because there are millions of them: a row each would cost as much as all the rest of their sync.
    """

    #: The platform's own id of the entry; opaque.
    id: Sequence[str]
    #: Counted up by the platform at each change; a lower one never overwrites a higher one.
    version: Sequence[int]
    sku: Sequence[str]
    #: The supply channel (warehouse) it lies in; None where the platform keeps one stock for all.
    supply_channel: Sequence[str | None]
    #: Units on the shelf. May be 0, never negative.
    quantity_on_stock: Sequence[int]
    #: Units that can still be promised: on the shelf less what is reserved.
    available_quantity: Sequence[int]
    #: Days until it can be had again; None when unknown.
    restockable_in_days: Sequence[int | None]
    #: When the next delivery is due; None when unknown.
    expected_delivery_at: Sequence[datetime | None]
    created_at: Sequence[datetime]
    last_modified_at: Sequence[datetime]
    #: What cleansing changed, JSON: field → what it was and which steps changed it. None when nothing was.
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
