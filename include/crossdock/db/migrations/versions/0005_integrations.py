"""The registry of integrations, and one table for the records of those that are declared."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    # One row an external system. No secret is in here: `connection_id` names the Airflow connection that has them.
    """
    CREATE TABLE integration (
        integration_id text COLLATE "C" PRIMARY KEY CHECK (integration_id ~ '^[a-z][a-z0-9_]{1,62}$'),
        kind text COLLATE "C" NOT NULL,
        name text NOT NULL,
        state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused')),
        settings jsonb NOT NULL,
        connection_id text NOT NULL,
        version bigint NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        created_by text NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        updated_by text NOT NULL,
        credentials_set_at timestamptz,
        tested_at timestamptz,
        test_passed boolean
    )
    """,
    # The records of declared integrations that have no table of their own: the mapped fields as JSON.
    """
    CREATE TABLE record (
        integration text COLLATE "C" NOT NULL,
        id text COLLATE "C" NOT NULL,
        version bigint NOT NULL,
        key text COLLATE "C" NOT NULL,
        data jsonb NOT NULL,
        last_modified_at timestamptz NOT NULL,
        lineage jsonb,
        batch_id bigint NOT NULL,
        PRIMARY KEY (id, integration)
    )
    """,
    "CREATE INDEX record_key ON record (key)",
    "CREATE TABLE record_history (LIKE record, superseded_by bigint NOT NULL, PRIMARY KEY (id, integration, version))",
    "CREATE INDEX record_history_key ON record_history (key)",
    # The API pages through the runs by (started_at, run_id).
    "DROP INDEX sync_run_newest",
    "CREATE INDEX sync_run_newest ON sync_run (started_at DESC, run_id DESC)",
    # What an integration did lately.
    "CREATE INDEX sync_run_of_integration ON sync_run (integration, started_at DESC)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
