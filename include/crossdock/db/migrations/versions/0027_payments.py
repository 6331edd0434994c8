"""Payments: what was asked of which gateway, what its answers and events said, and how the gateways answered lately."""

from __future__ import annotations

from alembic import op

revision = "0027"
down_revision = "0026"

STATEMENTS = (
    # `state` and `is_unresolved` follow from the legs and facts; they are here so that payments can be listed by them.
    """
    CREATE TABLE payment (
        payment_id text COLLATE "C" PRIMARY KEY,
        reference text COLLATE "C" NOT NULL UNIQUE CHECK (reference ~ '^[A-Za-z0-9._-]{1,64}$'),
        amount_minor bigint NOT NULL CHECK (amount_minor > 0),
        currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
        payment_methods jsonb NOT NULL,
        customer_reference text,
        return_url text,
        state text NOT NULL,
        is_unresolved boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        created_by text NOT NULL,
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    "CREATE INDEX payment_newest ON payment (created_at, payment_id)",
    "CREATE INDEX payment_unresolved ON payment (created_at, payment_id) WHERE is_unresolved",
    # A row is committed before its call. `calls` is the fence: a process that slept writes no outcome of a later call.
    """
    CREATE TABLE payment_leg (
        leg_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        payment_id text COLLATE "C" NOT NULL REFERENCES payment,
        operation text NOT NULL CHECK (operation IN ('authorise', 'capture', 'void', 'refund')),
        request_key text COLLATE "C" NOT NULL,
        gateway text COLLATE "C" NOT NULL,
        key text COLLATE "C" NOT NULL UNIQUE CHECK (key ~ '^[!-~]{1,64}$'),
        reference text COLLATE "C" NOT NULL,
        amount_minor bigint,
        outcome text NOT NULL DEFAULT 'open' CHECK (outcome IN ('open', 'done', 'refused', 'failed', 'unknown')),
        refused_by text CHECK (refused_by IN ('declined', 'ours')),
        code text,
        message text,
        try_other boolean NOT NULL DEFAULT false,
        payment_ref text COLLATE "C",
        operation_ref text COLLATE "C",
        next_action_url text,
        calls integer NOT NULL DEFAULT 1,
        began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        called_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        first_failed_at timestamptz,
        answered_at timestamptz,
        UNIQUE (payment_id, operation, request_key, gateway),
        CHECK ((refused_by IS NOT NULL) = (outcome = 'refused'))
    )
    """,
    "CREATE INDEX payment_leg_reference ON payment_leg (reference, gateway)",
    "CREATE INDEX payment_leg_payment_ref ON payment_leg (payment_ref, gateway)",
    "CREATE INDEX payment_leg_unresolved ON payment_leg (called_at) WHERE outcome IN ('open', 'unknown')",
    # A fact without a payment is of one that the hub does not know, or does not know yet.
    """
    CREATE TABLE payment_fact (
        fact_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        payment_id text COLLATE "C" REFERENCES payment,
        gateway text COLLATE "C" NOT NULL,
        payment_ref text COLLATE "C" NOT NULL,
        operation_ref text COLLATE "C" NOT NULL,
        kind text NOT NULL,
        occurred_at timestamptz NOT NULL,
        amount_minor bigint,
        currency text,
        reference text COLLATE "C",
        code text,
        origin text NOT NULL CHECK (origin IN ('answer', 'event', 'read', 'person')),
        received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        UNIQUE (gateway, operation_ref, kind)
    )
    """,
    "CREATE INDEX payment_fact_of ON payment_fact (payment_id)",
    "CREATE INDEX payment_fact_unmatched ON payment_fact (fact_id) WHERE payment_id IS NULL",
    "CREATE INDEX payment_fact_unmatched_ref ON payment_fact (payment_ref, gateway) WHERE payment_id IS NULL",
    # The last calls of each gateway. `answered` is null while a call runs, and if its process died.
    """
    CREATE TABLE gateway_call (
        call_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        gateway text COLLATE "C" NOT NULL,
        began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        answered boolean,
        took_ms integer
    )
    """,
    "CREATE INDEX gateway_call_newest ON gateway_call (gateway, call_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
