"""Events without ids of their own; syncs in parts."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    # The hub's own events are known by where they stand, `<epoch>-<position>`: to make a uuid for each and keep
    # it in an index cost as much as the rows that the events tell of. Events from outside bring an id.
    "ALTER TABLE event ALTER COLUMN event_id DROP NOT NULL",
    "ALTER TABLE event DROP CONSTRAINT event_event_id_source_key",
    "CREATE UNIQUE INDEX event_of_source ON event (event_id, source) WHERE event_id IS NOT NULL",
    "DROP FUNCTION new_event_id()",
    # Written once and read whole, in order: as text it is half the work to write, and none to read.
    "ALTER TABLE event ALTER COLUMN data TYPE json USING data::json",
    # Several workers share one sync, each with a part of the ids: the runs of one DAG run are told apart by it.
    "ALTER TABLE sync_range ADD COLUMN id_low text, ADD COLUMN id_high text",
    "DROP INDEX sync_run_of_dag_run",
    """
    CREATE UNIQUE INDEX sync_run_of_dag_run
        ON sync_run (entity, coalesce(dag_id, ''), dag_run_id, partition, attempt)
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
