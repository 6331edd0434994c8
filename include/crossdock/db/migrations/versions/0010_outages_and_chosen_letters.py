"""Outages of a source, known to all readers of a subscriber; and what a replay is of, in rows that are written once."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

STATEMENTS = (
    """
    CREATE TABLE event_outage (
        subscriber text COLLATE "C" NOT NULL,
        source text COLLATE "C" NOT NULL,
        cause text NOT NULL,
        reason text NOT NULL,
        probes integer NOT NULL DEFAULT 0,
        since timestamptz NOT NULL DEFAULT clock_timestamp(),
        next_probe_at timestamptz NOT NULL,
        PRIMARY KEY (subscriber, source)
    )
    """,
    # Those that wait for a pause, as the delivery kept them until now: they are due, and one of them finds out.
    "UPDATE failed_delivery SET next_try_at = clock_timestamp() WHERE state = 'retrying' AND cause = 'IntegrationPaused'",
    # Letters or items in quarantine. In the request they were written anew with each slice.
    """
    CREATE TABLE event_replay_chosen (
        replay_id bigint NOT NULL REFERENCES event_replay ON DELETE CASCADE,
        nth integer NOT NULL,
        chosen_id bigint NOT NULL,
        PRIMARY KEY (replay_id, nth)
    )
    """,
    """
    INSERT INTO event_replay_chosen (replay_id, nth, chosen_id)
    SELECT replay_id, ids.nth - 1, ids.id::bigint
      FROM event_replay,
           jsonb_array_elements_text(coalesce(request->'letter_ids', request->'item_ids')) WITH ORDINALITY AS ids (id, nth)
     WHERE what IN ('letters', 'quarantine')
    """,
    "UPDATE event_replay SET request = request - 'letter_ids' - 'item_ids' WHERE what IN ('letters', 'quarantine')",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
