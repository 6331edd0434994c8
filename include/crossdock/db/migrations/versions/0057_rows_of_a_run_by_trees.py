"""Rows of a run by trees that updates leave alone, and the last run that held a record."""

from __future__ import annotations

from alembic import op

revision = "0057"
down_revision = "0056"

_TABLES = ("inventory", "product", "prices", "sales_order", "customers", "record")

STATEMENTS = (
    # After weeks of updates here and there, each range of pages had rows of nearly all batches: the index read the whole table.
    *(f"DROP INDEX {table}_batch" for table in _TABLES),
    *(f"DROP INDEX {table}_history_batch" for table in _TABLES),
    # An update does not change it, so that it stays on its page (HOT). What a batch updated is found by what it superseded.
    # Null in rows that were there before: to write a million rows anew would take minutes, for runs that soon expire.
    *(f"ALTER TABLE {table} ADD COLUMN inserted_by bigint" for table in _TABLES),
    *(f"CREATE INDEX {table}_inserted_by ON {table} (inserted_by)" for table in _TABLES),
    # History is only appended to, and one batch has many rows: equal entries are stored once.
    *(f"CREATE INDEX {table}_history_batch ON {table}_history (batch_id)" for table in _TABLES),
    *(f"CREATE INDEX {table}_history_superseded_by ON {table}_history (superseded_by)" for table in _TABLES),
    'ALTER TABLE deferred_record ADD COLUMN last_run_id text COLLATE "C"',
    "UPDATE deferred_record SET last_run_id = first_run_id",
    "ALTER TABLE deferred_record ALTER last_run_id SET NOT NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
