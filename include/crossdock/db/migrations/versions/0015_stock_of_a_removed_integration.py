"""What can be sold of a sku, without what integrations told that are removed by now."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"

STATEMENTS = (
    # Kept beside the registry, because one that was never in it is no removed one: its connection may come from the
    # environment. Its levels stay in the model, which is made of events alone; added again, they count at once, though
    # a sync finds nothing changed and tells of nothing.
    """
    CREATE TABLE removed_integration (
        integration_id text COLLATE "C" PRIMARY KEY,
        removed_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    """
    CREATE OR REPLACE VIEW sku_availability AS
    SELECT sku, sum(available)::bigint AS available, count(*) AS warehouses, max(as_of) AS as_of
      FROM (SELECT sku, min(available) AS available, max(as_of) AS as_of
              FROM (SELECT sku, warehouse, sum(greatest(available, 0)) AS available, max(as_of) AS as_of
                      FROM stock_availability level
                     WHERE NOT EXISTS (SELECT FROM removed_integration gone
                                        WHERE level.source = '/integrations/' || gone.integration_id)
                     GROUP BY sku, warehouse, source) AS told
             GROUP BY sku, warehouse) AS shelf
     GROUP BY sku
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
