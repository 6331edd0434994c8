"""The entity tables that syncs load, as data from which the SQL statements are built."""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.db.columns import Column


@dataclass(frozen=True)
class EntityTable:
    """
    One entity's table and its change event.

    The table also has `integration` and `batch_id` (the batch that wrote the row); its twin
    `<name>_history` keeps superseded versions with `superseded_by`, the batch that replaced them.
    """

    name: str
    #: In the order of the fields of the row type; `id` and `version` come first.
    columns: tuple[Column, ...]
    event_type: str
    #: The column of the business key: events are ordered per key, and people look up records by it.
    partition_column: str
    #: The column with the number of lines; None for records without lines.
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


#: Records of declared integrations without a table of their own: the mapped fields as JSON.
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
