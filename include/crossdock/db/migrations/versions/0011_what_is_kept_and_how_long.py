"""What retention needs: runs without their pages, refused webhooks as counts, and ways to find what is old."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

STATEMENTS = (
    # When the run's pages went; null while they are there. Without them a failed run cannot go on.
    "ALTER TABLE sync_run ADD COLUMN landing_cleared_at timestamptz",
    "CREATE INDEX sync_run_of_lease ON sync_run (integration, entity, partition, started_at DESC)",
    "CREATE INDEX sync_run_ended ON sync_run (finished_at, run_id) WHERE state <> 'running'",
    # Whoever finds the address can make refusals by the million, and the audit chain is never shortened: they are
    # counted by the hour instead. Those that are in the chain already stay in it.
    """
    CREATE TABLE refused_webhook (
        integration text COLLATE "C" NOT NULL,
        hour timestamptz NOT NULL,
        why text COLLATE "C" NOT NULL,
        times bigint NOT NULL,
        bytes bigint NOT NULL,
        last_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (integration, hour, why)
    ) WITH (fillfactor = 50)
    """,
    # Ids come in the order of their time, so this is a few pages.
    "CREATE INDEX event_identity_by_time ON event_identity USING brin (stored_at)",
    "CREATE INDEX failed_delivery_closed ON failed_delivery (closed_at) WHERE closed_at IS NOT NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
