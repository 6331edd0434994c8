"""Attempts that a person decides about if nobody else finds out what became of them; warehouses have versions."""

from __future__ import annotations

from alembic import op

revision = "0054"
down_revision = "0051"

STATEMENTS = (
    # Of a step of an execution, the step asks; of a payment, its own list. Steps and attempts are compared by equality: a hash
    # join reads the steps once, which a condition such as starts_with cannot.
    "ALTER TABLE attempt ADD COLUMN asks_person boolean NOT NULL DEFAULT false",
    """
    UPDATE attempt SET asks_person = true
     WHERE outcome IN ('open', 'unknown')
       AND NOT EXISTS (SELECT FROM execution_step
                        WHERE length(execution_step.key) >= 24 AND left(attempt.key, 24) = left(execution_step.key, 24))
       AND NOT EXISTS (SELECT FROM payment_leg
                        WHERE payment_leg.gateway = attempt.integration AND payment_leg.key = attempt.key)
    """,
    # A call that may still be running is asked about when it must be over.
    """
    INSERT INTO decision (kind, subject, about, question, choices, role, opened_at)
    SELECT 'attempt', attempt_id::text, integration || '/' || key,
           format('Nobody knows what became of %s at %s. Look it up there: was it done?', action, integration),
           ARRAY['done', 'refused', 'failed'], 'operator', CASE outcome WHEN 'open' THEN open_until ELSE sent_at END
      FROM attempt WHERE asks_person
    """,
    "ALTER TABLE warehouse ADD COLUMN version bigint NOT NULL DEFAULT 1",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
