"""Executions of flows: their state, and how far each of their steps is."""

from __future__ import annotations

from alembic import op

revision = "0036"
down_revision = "0035"

STATEMENTS = (
    """
    CREATE TABLE execution (
        execution_id text PRIMARY KEY,
        flow text NOT NULL,
        -- What it is about. One flow has one execution for it: of two callers, the second finds the first one's.
        subject text NOT NULL,
        driver text NOT NULL CHECK (driver IN ('events', 'dag')),
        state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'undoing', 'completed', 'undone')),
        input jsonb NOT NULL,
        cancelled_because text,
        reason text,
        waits_for text,
        deadline_at timestamptz,
        next_at timestamptz,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        created_by text NOT NULL,
        ended_at timestamptz,
        UNIQUE (flow, subject)
    )
    """,
    # What is due, for whoever takes it up: few of all executions.
    "CREATE INDEX execution_due ON execution (next_at) WHERE next_at IS NOT NULL",
    "CREATE INDEX execution_of_subject ON execution (subject)",
    "CREATE INDEX execution_waits ON execution (execution_id) WHERE waits_for IS NOT NULL",
    "CREATE INDEX execution_age ON execution (ended_at) WHERE ended_at IS NOT NULL",
    """
    CREATE TABLE execution_step (
        execution_id text NOT NULL REFERENCES execution ON DELETE CASCADE,
        step text NOT NULL,
        direction text NOT NULL CHECK (direction IN ('act', 'undo')),
        state text NOT NULL CHECK (state IN ('open', 'done', 'nothing', 'refused', 'failed', 'unknown')),
        key text NOT NULL,
        tries integer NOT NULL,
        tries_left_from integer NOT NULL DEFAULT 0,
        output jsonb,
        message text,
        -- Of an open one: its call is over by then. Of a failed or unknown one: its next try.
        next_at timestamptz,
        called_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at timestamptz,
        -- Every try that has ended: number, began_at, ended_at, state, message.
        log jsonb NOT NULL DEFAULT '[]',
        PRIMARY KEY (execution_id, step, direction)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
