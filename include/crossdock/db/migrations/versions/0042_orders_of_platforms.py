"""Orders that a commerce platform has."""

from __future__ import annotations

from alembic import op

revision = "0042"
down_revision = "0041"

STATEMENTS = (
    # The integration; the order's number there is its reference. None for an order that no platform has.
    "ALTER TABLE placed_order ADD COLUMN platform text",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
