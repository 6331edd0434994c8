"""How far events were deleted after their retention, so that no reader elsewhere goes on behind a gap."""

from __future__ import annotations

from alembic import op

revision = "0051"
down_revision = "0050"

#: One row at most: the place of the last event that was deleted.
STATEMENT = """
CREATE TABLE event_dropped (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch int NOT NULL,
    xid xid8 NOT NULL,
    position bigint NOT NULL,
    dropped_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


def upgrade() -> None:
    op.execute(STATEMENT)
