"""A person's own words are in the audit trail alone: an execution, its steps and its order say who decided."""

from __future__ import annotations

from alembic import op

revision = "0048"
down_revision = "0044"

STATEMENTS = (
    "ALTER TABLE execution RENAME COLUMN cancelled_because TO cancelled_by",
    # What an order quotes is the reason of its execution, which began with the words of whoever cancelled it.
    """
    UPDATE placed_order SET reason = 'cancelled by ' || entry.actor
      FROM execution JOIN audit_entry entry
        ON entry.subject = 'execution/' || execution_id AND entry.act = 'execution.cancel'
     WHERE placed_order.order_id = execution.subject AND placed_order.reason = execution.cancelled_by
    """,
    """
    UPDATE execution SET reason = CASE WHEN reason = cancelled_by THEN 'cancelled by ' || entry.actor ELSE reason END,
                         cancelled_by = entry.actor
      FROM audit_entry entry
     WHERE entry.subject = 'execution/' || execution_id AND entry.act = 'execution.cancel' AND cancelled_by IS NOT NULL
    """,
    # What was found out about a step is its message, in its log, and in what the execution and the order say of it.
    """
    CREATE TEMPORARY TABLE found_out ON COMMIT DROP AS
    SELECT execution_id, detail->>'step' AS step, detail->>'reason' AS words,
           format('%s said that it is %s', actor, detail->>'state') AS said
      FROM execution JOIN audit_entry entry ON entry.subject = 'execution/' || execution_id AND act = 'execution.resolve'
    """,
    """
    UPDATE placed_order SET reason = replace(placed_order.reason, words, said)
      FROM execution JOIN found_out USING (execution_id)
     WHERE placed_order.order_id = execution.subject AND starts_with(placed_order.reason, step || ': ' || words)
    """,
    """
    UPDATE execution SET reason = replace(reason, words, said)
      FROM found_out WHERE execution.execution_id = found_out.execution_id AND starts_with(reason, step || ': ' || words)
    """,
    """
    UPDATE execution_step
       SET message = coalesce((SELECT said FROM found_out
                                WHERE found_out.execution_id = execution_step.execution_id
                                  AND found_out.step = execution_step.step AND words = message LIMIT 1), message),
           log = (SELECT coalesce(jsonb_agg(coalesce((
                             SELECT try || jsonb_build_object('message', said) FROM found_out
                              WHERE found_out.execution_id = execution_step.execution_id
                                AND found_out.step = execution_step.step AND words = try->>'message' LIMIT 1), try)
                         ORDER BY place), '[]')
                    FROM jsonb_array_elements(log) WITH ORDINALITY AS tried (try, place))
     WHERE EXISTS (SELECT FROM found_out
                    WHERE found_out.execution_id = execution_step.execution_id AND found_out.step = execution_step.step)
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
