"""Orders as a whole: tax, shipping, discount, returns, deliveries, payments; runs with warnings."""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0022"

_COLUMNS = """
    ADD COLUMN tax_mode text COLLATE "C",
    ADD COLUMN net_minor bigint,
    ADD COLUMN tax_minor bigint,
    ADD COLUMN gross_minor bigint,
    ADD COLUMN shipping_minor bigint,
    ADD COLUMN discount_minor bigint,
    ADD COLUMN returns jsonb,
    ADD COLUMN deliveries jsonb,
    ADD COLUMN sync_info jsonb,
    ADD COLUMN discount_codes jsonb,
    ADD COLUMN payments jsonb
"""

STATEMENTS = (
    f"ALTER TABLE sales_order {_COLUMNS}",
    f"ALTER TABLE sales_order_history {_COLUMNS}",
    # Rules of the level `warn` that loaded records fail.
    "ALTER TABLE sync_run ADD COLUMN warnings jsonb NOT NULL DEFAULT '[]'",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
