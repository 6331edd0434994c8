"""Key runs, leases, watermarks, quarantine and deferred records by stream: an integration and a dataset. In place."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"

_TABLES = ("lease", "watermark", "sync_run", "quarantine_item", "deferred_record")

#: A declared integration's records had the integration's own name; which dataset that is, its target says.
_DATASET = """
    CASE WHEN integration = dataset AND EXISTS (SELECT FROM inventory i WHERE i.integration = t.integration)
         THEN 'inventory'
         WHEN integration = dataset THEN 'records'
         WHEN dataset = 'product' THEN 'products'
         WHEN dataset = 'order' THEN 'orders'
         ELSE dataset END
"""

STATEMENTS = (
    *(f"ALTER TABLE {table} RENAME COLUMN entity TO dataset" for table in _TABLES),
    # PostgreSQL 18 also names the NOT NULL constraints, 15 to 17 do not: what is there is renamed.
    """
    DO $$
    DECLARE
        named record;
    BEGIN
        FOR named IN
            SELECT conrelid::regclass AS of_table, conname AS old_name, replace(conname, 'entity', 'dataset') AS new_name
              FROM pg_constraint
             WHERE connamespace = current_schema()::regnamespace AND position('entity' IN conname) > 0
        LOOP
            EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', named.of_table, named.old_name, named.new_name);
        END LOOP;
    END $$
    """,
    *(
        f"UPDATE {table} t SET dataset = {_DATASET} WHERE dataset <> 'inventory' OR integration = dataset"  # noqa: S608  names of ours
        for table in _TABLES
    ),
    # Two integrations may have runs of one dataset in DAG runs of one name.
    "DROP INDEX sync_run_of_dag_run",
    """
    CREATE UNIQUE INDEX sync_run_of_dag_run
        ON sync_run (dag_run_id, integration, dataset, coalesce(dag_id, ''), shard, attempt)
    """,
    # The subject of a run's alert is its lease as text, by which the next run closes it.
    """
    UPDATE alert
       SET subject = (SELECT format('%s.%s (%s)', name[2],
                          CASE WHEN name[1] = name[2] AND EXISTS (SELECT FROM inventory WHERE integration = name[2])
                               THEN 'inventory'
                               WHEN name[1] = name[2] THEN 'records'
                               WHEN name[1] = 'product' THEN 'products'
                               WHEN name[1] = 'order' THEN 'orders'
                               ELSE name[1] END, name[3])
                        FROM regexp_match(subject, '^(\\S+) from (\\S+) \\((.*)\\)$') AS name)
     WHERE kind IN ('run_failed', 'run_held') AND subject ~ '^\\S+ from \\S+ \\(.*\\)$'
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
