"""What workers share about calling an integration: turns, the breaker, one token, how calls went."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    # When the next turn to call is, in theory (GCRA's theoretical arrival time). One short update a lease of turns.
    """
    CREATE TABLE rate_limit (
        integration text COLLATE "C" PRIMARY KEY,
        next_turn_at timestamptz NOT NULL,
        calls bigint NOT NULL,
        per_s double precision NOT NULL,
        taken bigint NOT NULL DEFAULT 0
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE breaker (
        integration text COLLATE "C" PRIMARY KEY,
        state jsonb NOT NULL,
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE breaker_change (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        integration text COLLATE "C" NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        from_phase text NOT NULL,
        to_phase text NOT NULL,
        calls bigint NOT NULL,
        failures bigint NOT NULL
    )
    """,
    "CREATE INDEX breaker_change_of ON breaker_change (integration, at)",
    # Ciphertext only; the key is the deployment's Fernet key, which the database does not have.
    """
    CREATE TABLE shared_token (
        name text COLLATE "C" PRIMARY KEY,
        ciphertext bytea NOT NULL,
        fetched_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    # One row a minute, integration and run; run_id is empty for calls of no run.
    """
    CREATE TABLE call_count (
        integration text COLLATE "C" NOT NULL,
        minute timestamptz NOT NULL,
        run_id text COLLATE "C" NOT NULL DEFAULT '',
        success bigint NOT NULL DEFAULT 0,
        failure bigint NOT NULL DEFAULT 0,
        refusal bigint NOT NULL DEFAULT 0,
        throttled bigint NOT NULL DEFAULT 0,
        avoided bigint NOT NULL DEFAULT 0,
        retries bigint NOT NULL DEFAULT 0,
        answer_bytes bigint NOT NULL DEFAULT 0,
        waited_s double precision NOT NULL DEFAULT 0,
        durations bigint[] NOT NULL,
        last_success_at timestamptz,
        PRIMARY KEY (integration, minute, run_id)
    )
    """,
    "CREATE INDEX call_count_of_run ON call_count (run_id) WHERE run_id <> ''",
    "CREATE INDEX call_count_by_minute ON call_count (minute)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
