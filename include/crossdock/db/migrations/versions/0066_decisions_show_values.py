"""A decision shows the values that it is about."""

from __future__ import annotations

from alembic import op

revision = "0066"
down_revision = "0065"


def upgrade() -> None:
    # Not jsonb: they are shown in the order in which somebody wrote them.
    op.execute("ALTER TABLE decision ADD COLUMN shows json NOT NULL DEFAULT '{}'")
