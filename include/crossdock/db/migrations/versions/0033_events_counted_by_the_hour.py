"""Events counted by the hour, and a way to those of one key: neither status nor a replay reads the whole store."""

from __future__ import annotations

from alembic import op

revision = "0033"
down_revision = "0032"

STATEMENTS = (
    # How many events of each type came in within each hour (UTC), up to the cursor.
    """
    CREATE TABLE event_hour (
        hour timestamptz NOT NULL,
        type text COLLATE "C" NOT NULL,
        silent boolean NOT NULL,
        events bigint NOT NULL,
        PRIMARY KEY (hour, type, silent)
    ) WITH (fillfactor = 70)
    """,
    # One row: the last event that is counted. What is there already is counted by housekeeping, in steps.
    """
    CREATE TABLE event_counted (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        epoch integer NOT NULL DEFAULT 0,
        xid xid8 NOT NULL DEFAULT '0',
        position bigint NOT NULL DEFAULT 0
    ) WITH (fillfactor = 50)
    """,
    "INSERT INTO event_counted DEFAULT VALUES",
    # A B-tree over random keys would cost a page of write-ahead log for each event; these filters are a hundredth of the table.
    """
    CREATE INDEX event_by_key ON event USING brin (partition_key text_bloom_ops) WITH (pages_per_range = 16, autosummarize = on)
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
