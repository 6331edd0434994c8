"""The attempt log: the calls that write to other systems, each committed before its request is sent."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"

STATEMENTS = (
    # A key names one effect at one system. `open_until` is when the call has ended at the latest: an open row is unknown
    # from then on, since its process was killed. Of the request there is a digest alone; it may be of personal data.
    """
    CREATE TABLE attempt (
        attempt_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        integration text COLLATE "C" NOT NULL,
        action text COLLATE "C" NOT NULL,
        key text COLLATE "C" NOT NULL CHECK (key ~ '^[!-~]{1,64}$'),
        request_digest bytea NOT NULL,
        sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        open_until timestamptz NOT NULL,
        outcome text NOT NULL DEFAULT 'open' CHECK (outcome IN ('open', 'done', 'refused', 'failed', 'unknown')),
        known_at timestamptz,
        resolution text CHECK (resolution IN ('replayed_key', 'list', 'get', 'webhook', 'person')),
        UNIQUE (integration, key),
        CHECK ((known_at IS NULL) = (outcome IN ('open', 'unknown'))),
        CHECK (resolution IS NULL OR known_at IS NOT NULL)
    )
    """,
    "CREATE INDEX attempt_unresolved ON attempt (sent_at, attempt_id) WHERE outcome IN ('open', 'unknown')",
    # For the retention.
    "CREATE INDEX attempt_known ON attempt (known_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
