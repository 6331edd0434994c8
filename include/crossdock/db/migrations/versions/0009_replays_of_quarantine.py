"""Replays also of records in quarantine, asked for over the API."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

STATEMENTS = (
    "ALTER TABLE event_replay DROP CONSTRAINT event_replay_what_check",
    "ALTER TABLE event_replay ADD CHECK (what IN ('events', 'letters', 'quarantine'))",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
