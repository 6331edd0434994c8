"""When the hub knew each version of a record, and until when: with the row, since a run and its batches go after a time."""

from __future__ import annotations

from alembic import op

revision = "0056"
down_revision = "0055"

_TABLES = ("inventory", "product", "prices", "sales_order", "customers", "record")

STATEMENTS = tuple(
    statement
    for table in _TABLES
    for statement in (
        # Null in rows that were there before: a default in the same statement would write every row anew.
        f"ALTER TABLE {table} ADD COLUMN known_at timestamptz",
        f"ALTER TABLE {table} ALTER known_at SET DEFAULT clock_timestamp()",
        f"ALTER TABLE {table}_history ADD COLUMN known_at timestamptz, ADD COLUMN superseded_at timestamptz",
        f"ALTER TABLE {table}_history ALTER superseded_at SET DEFAULT clock_timestamp()",
    )
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
