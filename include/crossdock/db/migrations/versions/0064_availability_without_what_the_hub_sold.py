"""What can be sold of a SKU is without what the hub holds or sold: that is the stock that orders are taken from."""

from __future__ import annotations

from alembic import op

revision = "0064"
down_revision = "0063"

STATEMENTS = (
    # As before, and of each level what the hub has left of it. Where the hub has not heard of the level yet, nothing of it can
    # be held. A warehouse that is declared to be another one's is not sold from.
    """
    CREATE OR REPLACE VIEW sku_availability AS
    SELECT sku, sum(available)::bigint AS available, count(*) AS warehouses, max(as_of) AS as_of,
           sum(waiting)::bigint AS waiting, sum(available_at_source)::bigint AS available_at_source,
           sum(held)::bigint AS held, sum(sold)::bigint AS sold
      FROM (SELECT sku, min(available) AS available, max(as_of) AS as_of, sum(waiting) AS waiting,
                   min(available_at_source) AS available_at_source, sum(held) AS held, sum(sold) AS sold
              FROM (SELECT DISTINCT ON (level.source, level.sku, level.warehouse) level.sku, level.warehouse, level.as_of,
                           greatest(least(coalesce(stock.available, level.available),
                                          later.available - coalesce(stock.held + stock.sold, 0)), 0) AS available,
                           greatest(least(level.available, later.available), 0) AS available_at_source,
                           coalesce(stock.held, 0) AS held, coalesce(stock.sold, 0) AS sold, later.waiting
                      FROM stock_availability level
                      LEFT JOIN stock ON stock.sku = level.sku
                                     AND stock.warehouse_id = level.source || coalesce(':' || nullif(level.warehouse, ''), '')
                      LEFT JOIN warehouse USING (warehouse_id)
                      CROSS JOIN LATERAL (
                          SELECT min(coalesce((item.mapped->>'available_quantity')::bigint, 0)) AS available,
                                 count(*) AS waiting
                            FROM quarantine_item item
                           WHERE item.integration = substr(level.source, length('/integrations/') + 1)
                             AND item.dataset = 'inventory' AND item.record_id = level.id
                             AND item.version >= level.version AND item.state = 'open') AS later
                     WHERE warehouse.same_as IS NULL
                       AND NOT EXISTS (SELECT FROM removed_integration gone
                                        WHERE level.source = '/integrations/' || gone.integration_id)
                     ORDER BY level.source, level.sku, level.warehouse, level.as_of DESC, level.id DESC) AS known
             GROUP BY sku, warehouse) AS shelf
     GROUP BY sku
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
