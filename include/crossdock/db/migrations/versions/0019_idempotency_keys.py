"""Keep the answers of REST calls by their idempotency key."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"

STATEMENTS = (
    # Neither the caller's key nor the body of the request is here: the first is hashed with its scope, the second is
    # fingerprinted with the key, so that nobody can try out what a body with credentials said.
    """
    CREATE TABLE idempotency_key (
        key_hash bytea PRIMARY KEY,
        fingerprint bytea NOT NULL,
        status integer NOT NULL,
        headers jsonb NOT NULL,
        body bytea NOT NULL,
        stored_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    "CREATE INDEX idempotency_key_stored_at ON idempotency_key (stored_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
