"""When an event was delivered to a subscriber, and when a delivery first failed: pages say both."""

from __future__ import annotations

from alembic import op

revision = "0061"
down_revision = "0060"

STATEMENTS = (
    # Unknown for what was delivered before. The default comes after, so that no row is rewritten.
    "ALTER TABLE event_inbox ADD COLUMN delivered_at timestamptz",
    "ALTER TABLE event_inbox ALTER COLUMN delivered_at SET DEFAULT now()",
    # The failures of an hour, by type.
    "CREATE INDEX dead_letter_by_first_failure ON dead_letter (first_seen_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
