"""Sales that a platform has counted itself, stock levels that it made anew, and warehouses that two integrations tell of."""

from __future__ import annotations

from alembic import op

revision = "0043"
down_revision = "0042"

STATEMENTS = (
    # A stock level that is made anew begins at version 1: it is newer all the same. None of what was said before this.
    "ALTER TABLE stock ADD COLUMN entry_id text, ADD COLUMN entry_created_at timestamptz",
    # counted: the platform's own figure has it, so that nothing is subtracted here any more.
    "ALTER TABLE stock_hold DROP CONSTRAINT stock_hold_state_check",
    """
    ALTER TABLE stock_hold ADD CONSTRAINT stock_hold_state_check
          CHECK (state IN ('held', 'sold', 'counted', 'released'))
    """,
    # The same warehouse, of which another integration says the stock: only that one is sold from.
    "ALTER TABLE warehouse ADD COLUMN same_as text REFERENCES warehouse CHECK (same_as <> warehouse_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
