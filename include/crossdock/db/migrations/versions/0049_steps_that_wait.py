"""A step that waits for another's word has a state of its own: it was unknown, or failed, with a message to tell it by."""

from __future__ import annotations

from alembic import op

revision = "0049"
down_revision = "0048"

STATEMENTS = (
    # Each row that is there keeps the new rule, as it kept the old one: they need not be read for it.
    "ALTER TABLE execution_step DROP CONSTRAINT execution_step_state_check",
    """
    ALTER TABLE execution_step ADD CONSTRAINT execution_step_state_check
        CHECK (state IN ('open', 'done', 'nothing', 'refused', 'failed', 'unknown', 'waiting')) NOT VALID
    """,
    """
    UPDATE execution_step SET state = 'waiting'
     WHERE execution_id IN (SELECT execution_id FROM execution WHERE next_at IS NOT NULL
                            UNION ALL SELECT execution_id FROM execution WHERE waits_for IS NOT NULL)
       AND state IN ('unknown', 'failed')
       AND message IN ('the customer has to act', 'the gateway has not decided',
                       'the gateway has not said yet that the capture is done')
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
