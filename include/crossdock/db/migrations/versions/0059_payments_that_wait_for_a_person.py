"""Calls of payments that a person decides about if nobody else finds out what became of them."""

from __future__ import annotations

from alembic import op

revision = "0059"
down_revision = "0058"

STATEMENTS = (
    "ALTER TABLE payment_leg ADD COLUMN asks_person boolean NOT NULL DEFAULT false",
    # Of a payment of an order, the order's step asks. The reference of such a payment is the order's ID.
    """
    UPDATE payment_leg SET asks_person = true
      FROM payment
     WHERE payment.payment_id = payment_leg.payment_id AND payment_leg.outcome IN ('open', 'unknown')
       AND NOT EXISTS (SELECT FROM execution WHERE execution.subject = payment.reference)
    """,
    """
    INSERT INTO decision (kind, subject, about, question, choices, role, opened_at)
    SELECT 'payment', leg_id::text, payment_id,
           format('Nobody knows what became of the call %s of %s. Look there for %s. If it was done, say done, with its reference'
                  ' of what it did', operation, gateway, reference),
           ARRAY['done', 'refused', 'failed'], 'operator', called_at + interval '5 minutes'
      FROM payment_leg WHERE asks_person
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
