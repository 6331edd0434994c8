"""Orders that were placed at the hub."""

from __future__ import annotations

from alembic import op

revision = "0038"
down_revision = "0037"

STATEMENTS = (
    """
    CREATE TABLE placed_order (
        order_id text PRIMARY KEY,
        -- The caller's own.
        reference text NOT NULL UNIQUE,
        state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'confirmed', 'cancelling', 'cancelled')),
        currency text NOT NULL,
        total_minor bigint NOT NULL CHECK (total_minor > 0),
        country text,
        -- Personal; null once they were forgotten.
        email text,
        customer_name text,
        lines jsonb NOT NULL,
        payment_methods jsonb NOT NULL,
        return_url text,
        reason text,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        created_by text NOT NULL,
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    "CREATE INDEX placed_order_newest ON placed_order (created_at, order_id)",
    "CREATE INDEX placed_order_changed ON placed_order (changed_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
