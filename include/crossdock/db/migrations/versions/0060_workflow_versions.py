"""Versions of declared workflows."""

from __future__ import annotations

from alembic import op

revision = "0060"
down_revision = "0059"

STATEMENTS = (
    # A row is never changed: an execution goes on with the version that it began with.
    """
    CREATE TABLE workflow_version (
        workflow_id text COLLATE "C" NOT NULL,
        version integer NOT NULL,
        title text NOT NULL,
        -- As it was written, with its comments.
        definition text NOT NULL,
        webhooks text[] NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        created_by text NOT NULL,
        PRIMARY KEY (workflow_id, version)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
