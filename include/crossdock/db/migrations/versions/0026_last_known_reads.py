"""What reads of other systems gave last, for those that fall back to it."""

from __future__ import annotations

from alembic import op

revision = "0026"
down_revision = "0025"

STATEMENTS = (
    """
    CREATE TABLE last_known_read (
        integration text COLLATE "C" NOT NULL,
        action text COLLATE "C" NOT NULL,
        input_digest bytea NOT NULL,
        output jsonb NOT NULL,
        read_at timestamptz NOT NULL,
        PRIMARY KEY (integration, action, input_digest)
    )
    """,
    "CREATE INDEX last_known_read_at ON last_known_read (read_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
