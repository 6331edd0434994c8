"""Stock that the hub sells from, by warehouse, and what is held or sold for orders."""

from __future__ import annotations

from alembic import op

revision = "0037"
down_revision = "0036"

STATEMENTS = (
    """
    CREATE TABLE warehouse (
        -- The stock's source and its supply channel: `commercetools:berlin`.
        warehouse_id text PRIMARY KEY,
        priority integer NOT NULL DEFAULT 100,
        -- ISO 3166 alpha-2; for the distance to a customer.
        country text,
        -- What it costs to send one parcel from here, in minor units of whatever all warehouses use.
        parcel_cost_minor bigint NOT NULL DEFAULT 0 CHECK (parcel_cost_minor >= 0),
        -- The hub holds stock here for orders. Where the platform reserves by itself, it must not: it would hold everything twice.
        reserved_by text NOT NULL DEFAULT 'hub' CHECK (reserved_by IN ('hub', 'platform'))
    )
    """,
    """
    CREATE TABLE stock (
        warehouse_id text NOT NULL REFERENCES warehouse,
        sku text NOT NULL,
        -- What the platform said last that can be sold.
        on_hand bigint NOT NULL,
        available bigint NOT NULL CHECK (available >= 0),
        held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
        sold bigint NOT NULL DEFAULT 0 CHECK (sold >= 0),
        -- So many were sold or held that are no longer there: somebody else sold them.
        missing bigint NOT NULL DEFAULT 0 CHECK (missing >= 0),
        version bigint NOT NULL,
        as_of timestamptz NOT NULL,
        PRIMARY KEY (sku, warehouse_id),
        CHECK (available + held + sold = on_hand + missing),
        CHECK (available = 0 OR missing = 0)
    )
    """,
    "CREATE INDEX stock_missing ON stock (sku) WHERE missing > 0",
    """
    CREATE TABLE stock_hold (
        order_id text NOT NULL,
        sku text NOT NULL,
        warehouse_id text NOT NULL,
        quantity bigint NOT NULL CHECK (quantity > 0),
        state text NOT NULL DEFAULT 'held' CHECK (state IN ('held', 'sold', 'released')),
        -- None for one that does not run out: its order is being paid for.
        expires_at timestamptz,
        held_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (order_id, sku, warehouse_id),
        FOREIGN KEY (sku, warehouse_id) REFERENCES stock (sku, warehouse_id)
    )
    """,
    "CREATE INDEX stock_hold_expires ON stock_hold (expires_at) WHERE state = 'held' AND expires_at IS NOT NULL",
    "CREATE INDEX stock_hold_of_stock ON stock_hold (sku, warehouse_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
