"""The entity tables that syncs load, as data: what `batches` needs to build its statements."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    name: str
    #: The PostgreSQL type, as COPY must be told.
    pg_type: str


@dataclass(frozen=True)
class EntityTable:
    """
    One entity's table and what its change event says.

    The table also has `integration` and `batch_id` (the batch that wrote the row); its twin
    `<name>_history` keeps superseded versions with `superseded_by`, the batch that replaced them.
    """

    name: str
    #: In the order of the row type in `include.model`; `id` and `version` come first.
    columns: tuple[Column, ...]
    event_type: str
    #: The column whose value keeps events in order per key.
    partition_column: str

    @property
    def history(self) -> str:
        return f"{self.name}_history"

    @property
    def stage(self) -> str:
        return f"stage_{self.name}"

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


INVENTORY = EntityTable(
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
    ),
    event_type="crossdock.stock.changed",
    partition_column="sku",
)
