"""An alert has numbers, examples and what it belongs to; what changes slowly has a history to compare it with."""

from __future__ import annotations

from alembic import op

revision = "0029"
down_revision = "0028"

STATEMENTS = (
    """
    ALTER TABLE alert
        ADD COLUMN records bigint,
        ADD COLUMN examples text[] NOT NULL DEFAULT '{}' CHECK (cardinality(examples) <= 3),
        ADD COLUMN integration text COLLATE "C",
        ADD COLUMN stream text COLLATE "C"
    """,
    # A stream that never ran is late since the hub first saw its schedule.
    """
    CREATE TABLE scheduled_stream (
        stream text COLLATE "C" PRIMARY KEY,
        schedule text NOT NULL,
        since timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    """
    CREATE TABLE database_size (
        at timestamptz PRIMARY KEY DEFAULT clock_timestamp(),
        size_bytes bigint NOT NULL
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
