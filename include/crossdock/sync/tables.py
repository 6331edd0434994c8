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
    #: The column whose value keeps events in order per key, and under which a person asks for the record.
    partition_column: str
    #: The column that says of how many lines a record is made; None where it is one by itself.
    lines_column: str | None = None

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
        Column("lineage", "jsonb"),
    ),
    event_type="crossdock.stock.changed",
    partition_column="sku",
)

PRODUCT = EntityTable(
    name="product",
    columns=(
        Column("id", "text"),
        Column("version", "int8"),
        Column("key", "text"),
        Column("product_type", "text"),
        Column("published", "bool"),
        Column("name", "jsonb"),
        Column("slug", "jsonb"),
        Column("description", "jsonb"),
        Column("categories", "jsonb"),
        Column("master_sku", "text"),
        Column("price_minor", "int8"),
        Column("price_currency", "text"),
        Column("price_exponent", "int8"),
        Column("variants", "jsonb"),
        Column("created_at", "timestamptz"),
        Column("last_modified_at", "timestamptz"),
        Column("lineage", "jsonb"),
    ),
    event_type="crossdock.product.changed",
    partition_column="key",
)

SALES_ORDER = EntityTable(
    name="sales_order",
    columns=(
        Column("id", "text"),
        Column("version", "int8"),
        Column("order_number", "text"),
        Column("order_state", "text"),
        Column("payment_state", "text"),
        Column("shipment_state", "text"),
        Column("customer_id", "text"),
        Column("customer_email", "text"),
        Column("country", "text"),
        Column("currency", "text"),
        Column("total_minor", "int8"),
        Column("line_count", "int8"),
        Column("lines", "jsonb"),
        Column("shipping_address", "jsonb"),
        Column("placed_at", "timestamptz"),
        Column("last_modified_at", "timestamptz"),
        Column("lineage", "jsonb"),
    ),
    event_type="crossdock.order.changed",
    partition_column="order_number",
    lines_column="line_count",
)

#: Records of declared integrations that have no table of their own: what was mapped, as JSON.
RECORD = EntityTable(
    name="record",
    columns=(
        Column("id", "text"),
        Column("version", "int8"),
        Column("key", "text"),
        Column("data", "jsonb"),
        Column("last_modified_at", "timestamptz"),
        Column("lineage", "jsonb"),
    ),
    event_type="crossdock.record.changed",
    partition_column="key",
)
