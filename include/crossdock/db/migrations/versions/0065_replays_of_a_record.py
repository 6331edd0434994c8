"""The replays of one record in quarantine, or of one dead letter, are found by its ID."""

from __future__ import annotations

from alembic import op

revision = "0065"
down_revision = "0064"


def upgrade() -> None:
    op.execute("CREATE INDEX event_replay_chosen_chosen_id ON event_replay_chosen (chosen_id)")
