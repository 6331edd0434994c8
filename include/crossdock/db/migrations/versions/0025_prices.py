"""Prices as rows; products without what a platform may leave out; stock below zero; what waits in quarantine, as mapped."""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"

_PRODUCT = """
    ALTER COLUMN published DROP NOT NULL,
    ALTER COLUMN master_sku DROP NOT NULL,
    ADD COLUMN price_id text COLLATE "C",
    ADD COLUMN price text COLLATE "C",
    ADD COLUMN prices jsonb
"""

STATEMENTS = (
    """
    CREATE TABLE prices (
        integration text COLLATE "C" NOT NULL,
        id text COLLATE "C" NOT NULL,
        version bigint NOT NULL,
        sku text COLLATE "C" NOT NULL,
        product_id text COLLATE "C",
        variant_id bigint,
        currency text COLLATE "C" NOT NULL,
        amount text COLLATE "C" NOT NULL,
        amount_minor bigint NOT NULL,
        exponent bigint NOT NULL,
        country text COLLATE "C",
        customer_group text COLLATE "C",
        channel text COLLATE "C",
        recurrence_policy text COLLATE "C",
        valid_from timestamptz,
        valid_until timestamptz,
        tiers jsonb,
        discounted_amount text COLLATE "C",
        discounted_minor bigint,
        discount text COLLATE "C",
        active boolean NOT NULL,
        created_at timestamptz NOT NULL,
        last_modified_at timestamptz NOT NULL,
        lineage jsonb,
        batch_id bigint NOT NULL,
        PRIMARY KEY (id, integration)
    )
    """,
    "CREATE INDEX prices_sku ON prices (sku)",
    # A product that changes has its prices compared with these.
    "CREATE INDEX prices_product ON prices (product_id, integration) WHERE product_id IS NOT NULL",
    "CREATE TABLE prices_history (LIKE prices, superseded_by bigint NOT NULL, PRIMARY KEY (id, integration, version, superseded_by))",
    "CREATE INDEX prices_history_sku ON prices_history (sku)",
    f"ALTER TABLE product {_PRODUCT}",
    f"ALTER TABLE product_history {_PRODUCT}",
    # A platform may sell what it does not have yet.
    "ALTER TABLE inventory DROP CONSTRAINT IF EXISTS inventory_quantity_on_stock_check",
    # The record's columns, where it could be mapped: what waits tells more than that something waits.
    "ALTER TABLE quarantine_item ADD COLUMN mapped jsonb",
    # One entry per sku and warehouse: an entry that was made anew under another id replaces the old one, of which no event
    # tells that it is gone. While a version of an entry that came later waits in quarantine, the lower of the two figures counts;
    # one that cannot be read may be 0.
    "DROP VIEW sku_availability",
    """
    CREATE VIEW sku_availability AS
    SELECT sku, sum(available)::bigint AS available, count(*) AS warehouses, max(as_of) AS as_of,
           sum(waiting)::bigint AS waiting
      FROM (SELECT sku, min(available) AS available, max(as_of) AS as_of, sum(waiting) AS waiting
              FROM (SELECT DISTINCT ON (level.source, level.sku, level.warehouse) level.sku, level.warehouse, level.as_of,
                           greatest(least(level.available, later.available), 0) AS available, later.waiting
                      FROM stock_availability level
                      CROSS JOIN LATERAL (
                          SELECT min(coalesce((item.mapped->>'available_quantity')::bigint, 0)) AS available,
                                 count(*) AS waiting
                            FROM quarantine_item item
                           WHERE item.integration = substr(level.source, length('/integrations/') + 1)
                             AND item.dataset = 'inventory' AND item.record_id = level.id
                             AND item.version >= level.version AND item.state = 'open') AS later
                     WHERE NOT EXISTS (SELECT FROM removed_integration gone
                                        WHERE level.source = '/integrations/' || gone.integration_id)
                     ORDER BY level.source, level.sku, level.warehouse, level.as_of DESC, level.id DESC) AS known
             GROUP BY sku, warehouse) AS shelf
     GROUP BY sku
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
