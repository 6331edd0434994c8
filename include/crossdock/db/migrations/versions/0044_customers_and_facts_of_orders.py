"""The customer's ID in the shop, which some gateways require; the facts of a payment by its reference at the gateway."""

from __future__ import annotations

from alembic import op

revision = "0044"
down_revision = "0043"

STATEMENTS = (
    "ALTER TABLE placed_order ADD COLUMN customer_reference text",
    # Each event of a gateway looks for the payments that it is of, among the facts of years.
    "CREATE INDEX payment_fact_ref ON payment_fact (gateway, payment_ref)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
