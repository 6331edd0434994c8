"""The entity tables that syncs load, as data: what `batches` needs to build its statements."""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.db.columns import Column


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
