"""An alert of which nothing will be said any more is in no plan of messages."""

from __future__ import annotations

from alembic import op

revision = "0035"
down_revision = "0034"

STATEMENTS = (
    "ALTER TABLE alert ADD COLUMN settled boolean NOT NULL DEFAULT false",
    # Instead of all that closed within a week, however many those are.
    "CREATE INDEX alert_not_settled ON alert (closed_at) WHERE closed_at IS NOT NULL AND NOT settled",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
