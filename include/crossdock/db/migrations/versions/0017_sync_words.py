"""Rename what belongs to syncs: shards, deferred records, edited records, permits. In place: no row is copied."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"

STATEMENTS = (
    "ALTER TABLE open_record RENAME TO deferred_record",
    "ALTER TABLE quarantine_item RENAME COLUMN mended TO edited",
    "ALTER TABLE sync_run RENAME COLUMN partition TO shard",
    "ALTER TABLE lease RENAME COLUMN partition TO shard",
    "ALTER TABLE watermark RENAME COLUMN partition TO shard",
    "ALTER TABLE rate_limit RENAME COLUMN next_turn_at TO next_permit_at",
    # PostgreSQL names constraints after their table and column when it makes them, since version 18 also each NOT NULL,
    # and keeps those names: what is there is renamed, whichever version made it. An index goes with its constraint.
    """
    DO $$
    DECLARE
        named record;
    BEGIN
        FOR named IN
            SELECT conrelid::regclass AS of_table, conname AS old_name,
                   replace(conname, old_word, new_word) AS new_name
              FROM (VALUES ('deferred_record', 'open_record', 'deferred_record'),
                           ('quarantine_item', 'mended', 'edited'),
                           ('sync_run', 'partition', 'shard'),
                           ('lease', 'partition', 'shard'),
                           ('watermark', 'partition', 'shard'),
                           ('rate_limit', 'next_turn_at', 'next_permit_at')) AS words (of_table, old_word, new_word)
              JOIN pg_constraint ON conrelid = of_table::regclass AND position(old_word IN conname) > 0
        LOOP
            EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', named.of_table, named.old_name, named.new_name);
        END LOOP;
    END $$
    """,
    # What somebody asked of a run. Runs of before read it by its new names.
    """
    UPDATE sync_run
       SET request = (SELECT jsonb_object_agg(coalesce(renamed.new_key, asked.key), asked.value)
                        FROM jsonb_each(request) AS asked
                        LEFT JOIN (VALUES ('part', 'shard'), ('accept_shrunken', 'allow_shrink'),
                                          ('tell', 'emit_events')) AS renamed (old_key, new_key)
                               ON renamed.old_key = asked.key)
     WHERE request ?| ARRAY['part', 'accept_shrunken', 'tell']
    """,
    # A shard's runs, lease and watermark are found by this text, and its alert by the lease's: a run that is under way
    # goes on, and a delta reads from where its shard stands.
    "UPDATE sync_run SET shard = 'shard:' || substr(shard, 6) WHERE shard LIKE 'part:%'",
    "UPDATE lease SET shard = 'shard:' || substr(shard, 6) WHERE shard LIKE 'part:%'",
    "UPDATE watermark SET shard = 'shard:' || substr(shard, 6) WHERE shard LIKE 'part:%'",
    """
    UPDATE alert SET subject = replace(subject, '(part:', '(shard:')
     WHERE kind IN ('run_failed', 'run_held') AND position('(part:' IN subject) > 0
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
