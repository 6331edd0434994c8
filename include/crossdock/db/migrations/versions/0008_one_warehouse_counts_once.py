"""What can be sold of a sku: a warehouse of which two integrations tell counts once, with the lower figure."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

STATEMENTS = (
    # Two integrations that tell of the same shelf would sell it twice; that the lower figure is the right one nobody
    # knows, but with it nothing is oversold.
    """
    CREATE OR REPLACE VIEW sku_availability AS
    SELECT sku, sum(available)::bigint AS available, count(*) AS warehouses, max(as_of) AS as_of
      FROM (SELECT sku, min(available) AS available, max(as_of) AS as_of
              FROM (SELECT sku, warehouse, sum(greatest(available, 0)) AS available, max(as_of) AS as_of
                      FROM stock_availability GROUP BY sku, warehouse, source) AS told
             GROUP BY sku, warehouse) AS shelf
     GROUP BY sku
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
