"""Deployments of declared workflows, why a step did not succeed, and who listens for an event."""

from __future__ import annotations

from alembic import op

revision = "0063"
down_revision = "0062"

STATEMENTS = (
    # failed, timeout, unknown, refused or declined; null of what succeeded, has not ended, or was said by a person.
    "ALTER TABLE execution_step ADD COLUMN error text",
    # Executions of one workflow, newest first.
    "CREATE INDEX execution_flow ON execution (flow, created_at DESC, execution_id DESC) WHERE flow LIKE 'workflow.%'",
    "CREATE INDEX execution_of_workflows ON execution (created_at DESC, execution_id DESC) WHERE flow LIKE 'workflow.%'",
    # For retention.
    "CREATE INDEX execution_of_workflows_age ON execution (ended_at) WHERE flow LIKE 'workflow.%'",
    # When a test run of the version last completed: what was never tested is not deployed.
    "ALTER TABLE workflow_version ADD COLUMN tested_at timestamptz, ADD COLUMN tested_by text",
    # The version that new executions begin with.
    """
    CREATE TABLE workflow_deployment (
        workflow_id text COLLATE "C" PRIMARY KEY,
        version integer NOT NULL,
        deployed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        deployed_by text NOT NULL,
        -- Where the events began when it was first deployed: older ones start nothing.
        since_epoch integer NOT NULL,
        since_xid bigint NOT NULL,
        FOREIGN KEY (workflow_id, version) REFERENCES workflow_version
    )
    """,
    # A step that waits for an event, until it ends.
    """
    CREATE TABLE workflow_listener (
        execution_id text NOT NULL REFERENCES execution ON DELETE CASCADE,
        step text NOT NULL,
        event_type text NOT NULL,
        -- CEL on the event, and what it reads besides.
        condition text,
        scope jsonb NOT NULL,
        opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        -- Where the events began when it began to wait: older ones are not heard.
        since_epoch integer NOT NULL,
        since_xid bigint NOT NULL,
        -- What came; null while it waits.
        event jsonb,
        PRIMARY KEY (execution_id, step)
    )
    """,
    "CREATE INDEX workflow_listener_open ON workflow_listener (event_type) WHERE event IS NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
