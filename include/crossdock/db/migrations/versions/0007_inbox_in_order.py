"""The inbox in the order of the readers, so that what lies behind all of them can be trimmed exactly."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

STATEMENTS = (
    "ALTER TABLE event_inbox RENAME TO event_inbox_by_position",
    # A position alone does not say whether a cursor has passed it: an older transaction may have taken a newer one.
    # The xid as bigint, because there is no cast of a bigint array into xid8.
    """
    CREATE TABLE event_inbox (
        subscriber text COLLATE "C" NOT NULL,
        xid bigint NOT NULL,
        position bigint NOT NULL,
        epoch integer NOT NULL,
        CONSTRAINT event_inbox_in_order PRIMARY KEY (subscriber, epoch, xid, position)
    ) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 1)
    """,
    # What tells of an event that the store has no more cannot come again.
    """
    INSERT INTO event_inbox (subscriber, xid, position, epoch)
    SELECT old.subscriber, event.xid::text::bigint, old.position, old.epoch
      FROM event_inbox_by_position old JOIN event ON event.epoch = old.epoch AND event.position = old.position
    """,
    "DROP TABLE event_inbox_by_position",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
