"""The installation itself: its id, which no restore changes, and its last backup."""

from __future__ import annotations

from alembic import op

revision = "0034"
down_revision = "0033"

STATEMENTS = (
    # One row. Keys that other systems remember are made from the id: a restored hub makes the same ones again.
    """
    CREATE TABLE installation (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        installation_id uuid NOT NULL DEFAULT gen_random_uuid(),
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        backed_up_at timestamptz
    )
    """,
    "INSERT INTO installation DEFAULT VALUES",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
