"""An alert is open from when something is wrong until it is not."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"

STATEMENTS = (
    # When it was last found to be so, and since when it is not; null while it is.
    "ALTER TABLE alert ADD COLUMN seen_at timestamptz NOT NULL DEFAULT clock_timestamp(), ADD COLUMN closed_at timestamptz",
    # Until now nobody closed one, and their subjects were single runs and hours: what is wrong now is found anew.
    "UPDATE alert SET seen_at = at, closed_at = clock_timestamp()",
    "ALTER TABLE alert DROP CONSTRAINT alert_kind_subject_key",
    "CREATE UNIQUE INDEX alert_open ON alert (kind, subject) WHERE closed_at IS NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
