"""Routes of alerts, the log of their messages, mutes, and who has acknowledged an alert until when."""

from __future__ import annotations

from alembic import op

revision = "0030"
down_revision = "0029"

STATEMENTS = (
    # NULL in acknowledged_until: until it closes.
    """
    ALTER TABLE alert
        ADD COLUMN acknowledged_by text,
        ADD COLUMN acknowledged_at timestamptz,
        ADD COLUMN acknowledged_until timestamptz
    """,
    # Those that closed lately, in every plan.
    "CREATE INDEX alert_closed_at ON alert (closed_at) WHERE closed_at IS NOT NULL",
    """
    CREATE TABLE alert_route (
        name text COLLATE "C" PRIMARY KEY,
        definition jsonb NOT NULL,
        -- The file that declares it; NULL for one made over REST.
        declared_in text,
        -- What closed before is no news for it.
        created_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    """
    CREATE TABLE alert_message (
        message_no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        message_id text COLLATE "C" NOT NULL UNIQUE,
        route text COLLATE "C" NOT NULL,
        -- The integration that sends it: its messages are sent in order.
        integration text COLLATE "C" NOT NULL,
        recipients text[] NOT NULL,
        thread_id text COLLATE "C" NOT NULL,
        occasion text COLLATE "C" NOT NULL,
        message jsonb NOT NULL,
        state text COLLATE "C" NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sending', 'sent', 'refused')),
        attempts integer NOT NULL DEFAULT 0,
        next_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        error text,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at timestamptz
    )
    """,
    "CREATE INDEX alert_message_open ON alert_message (integration, message_no) WHERE state IN ('waiting', 'sending')",
    "CREATE INDEX alert_message_ended_at ON alert_message (ended_at)",
    # Which alerts a message tells of, and what it says of each.
    """
    CREATE TABLE alert_message_cause (
        message_no bigint NOT NULL REFERENCES alert_message ON DELETE CASCADE,
        alert_id bigint NOT NULL,
        says text COLLATE "C" NOT NULL CHECK (says IN ('opened', 'continues', 'closed', 'passed')),
        PRIMARY KEY (message_no, alert_id)
    )
    """,
    "CREATE INDEX alert_message_cause_alert ON alert_message_cause (alert_id)",
    """
    CREATE TABLE alert_mute (
        mute_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        -- Patterns, as in a route.
        kind text NOT NULL,
        subject text NOT NULL,
        integration text NOT NULL,
        since timestamptz NOT NULL DEFAULT clock_timestamp(),
        until timestamptz NOT NULL,
        reason text NOT NULL,
        created_by text NOT NULL
    )
    """,
    "CREATE INDEX alert_mute_until ON alert_mute (until)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
