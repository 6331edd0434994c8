"""When a run asked its source for the time: the next one finds out whether the source's clock went on evenly."""

from __future__ import annotations

from alembic import op

revision = "0032"
down_revision = "0031"

STATEMENTS = ("ALTER TABLE sync_run ADD COLUMN source_asked_at timestamptz",)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
