"""Mails: one row for each, from before it is sent."""

from __future__ import annotations

from alembic import op

revision = "0028"
down_revision = "0027"

STATEMENTS = (
    """
    CREATE TABLE mail (
        mail_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        business_key text COLLATE "C" NOT NULL,
        kind text COLLATE "C" NOT NULL,
        state text COLLATE "C" NOT NULL CHECK (state IN ('open', 'sending', 'sent', 'refused', 'failed', 'unknown')),
        recipient text,
        -- What is sent, the same at each try and at each mailer; NULL once it was sent.
        message jsonb,
        mailer text COLLATE "C",
        provider_id text,
        reason text,
        -- Counts the processes that sent it: one of before must not go on.
        claim bigint NOT NULL DEFAULT 0,
        claimed_until timestamptz,
        -- A process ended without saying how far it came: no mailer but `mailer` may be asked.
        pinned boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        UNIQUE (business_key, kind)
    )
    """,
    "CREATE INDEX mail_state ON mail (state, mail_id) WHERE state <> 'sent'",
    "CREATE INDEX mail_changed_at ON mail (changed_at) WHERE recipient IS NOT NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
