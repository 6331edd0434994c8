"""Payments: the account that a call was made at, what waits for a person, and the deadline of a dispute."""

from __future__ import annotations

from alembic import op

revision = "0031"
down_revision = "0030"

STATEMENTS = (
    # Which account of the gateway was called. An integration that was removed and added again may have another one.
    "ALTER TABLE payment_leg ADD COLUMN account text",
    "ALTER TABLE payment_leg DROP CONSTRAINT payment_leg_operation_check",
    """
    ALTER TABLE payment_leg ADD CONSTRAINT payment_leg_operation_check
          CHECK (operation IN ('authorise', 'finish', 'capture', 'void', 'refund'))
    """,
    "ALTER TABLE payment_fact ADD COLUMN due_at timestamptz",
    # Both follow from the facts, as `state` does; they are here so that the alarms find the few payments that have them.
    "ALTER TABLE payment ADD COLUMN live_authorisations integer NOT NULL DEFAULT 0",
    "ALTER TABLE payment ADD COLUMN dispute_until timestamptz",
    "CREATE INDEX payment_doubled ON payment (payment_id) WHERE live_authorisations > 1",
    "CREATE INDEX payment_disputed ON payment (dispute_until) WHERE dispute_until IS NOT NULL",
    "CREATE INDEX payment_fact_unmatched_reference ON payment_fact (reference, gateway) WHERE payment_id IS NULL",
    # Retention: what is oldest goes first.
    "CREATE INDEX payment_changed ON payment (changed_at)",
    "CREATE INDEX payment_fact_unmatched_age ON payment_fact (received_at) WHERE payment_id IS NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
