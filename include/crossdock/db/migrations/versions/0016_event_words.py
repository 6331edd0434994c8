"""Rename the event engine's tables and columns to the field's words, in place: no row is copied."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"

#: The prefix of a constraint, index or sequence as it was → as it is. In this order: the later ones are of renamed tables.
PREFIXES = (
    ("failed_delivery_", "dead_letter_"),
    ("dead_letter_letter_id_", "dead_letter_dead_letter_id_"),
    ("dead_letter_next_try_at_", "dead_letter_next_attempt_at_"),
    ("event_outage_", "source_outage_"),
    ("event_reader_", "event_consumer_"),
    ("event_replay_what_", "event_replay_kind_"),
    ("event_replay_asked_at_", "event_replay_requested_at_"),
    ("refused_webhook_why_", "refused_webhook_reason_"),
)

# By the catalogue and not by a list: PostgreSQL 18 also names the NOT NULL constraints, 15 to 17 do not. A constraint
# that has an index gives it its own name, so the indexes and sequences that are left come second.
_RENAME = """
    DO $$
    DECLARE
        old record;
        new_name text;
    BEGIN
        FOR old IN
            SELECT conrelid::regclass AS on_table, conname AS name FROM pg_constraint
             WHERE connamespace = current_schema()::regnamespace AND conrelid <> 0 AND starts_with(conname, '{old}')
        LOOP
            new_name := '{new}' || substr(old.name, length('{old}') + 1);
            EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', old.on_table, old.name, new_name);
        END LOOP;
        FOR old IN
            SELECT oid::regclass AS relation, relname AS name, relkind FROM pg_class
             WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('i', 'S')
               AND starts_with(relname, '{old}')
        LOOP
            new_name := '{new}' || substr(old.name, length('{old}') + 1);
            EXECUTE format('ALTER %s %s RENAME TO %I',
                           CASE old.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'INDEX' END, old.relation, new_name);
        END LOOP;
    END $$
"""

STATEMENTS = (
    "ALTER TABLE failed_delivery RENAME TO dead_letter",
    "ALTER TABLE dead_letter RENAME letter_id TO dead_letter_id",
    "ALTER TABLE dead_letter RENAME mended TO edited_data",
    "ALTER TABLE dead_letter RENAME next_try_at TO next_attempt_at",
    "ALTER TABLE event_outage RENAME TO source_outage",
    "ALTER TABLE event_reader RENAME TO event_consumer",
    "ALTER TABLE event_replay RENAME what TO kind",
    "ALTER TABLE event_replay RENAME asked_at TO requested_at",
    "ALTER TABLE refused_webhook RENAME why TO reason",
    *(_RENAME.format(old=old, new=new) for old, new in PREFIXES),
    # The check names the stored value, so it steps aside while that changes.
    "ALTER TABLE event_replay DROP CONSTRAINT event_replay_kind_check",
    "UPDATE event_replay SET kind = 'dead_letters' WHERE kind = 'letters'",
    """
    ALTER TABLE event_replay ADD CONSTRAINT event_replay_kind_check
        CHECK (kind IN ('events', 'dead_letters', 'quarantine'))
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
