"""Decisions of people; which runs of the DAG took an order; each state that a hold had; products by the SKUs of all variants."""

from __future__ import annotations

from alembic import op

revision = "0050"
down_revision = "0049"

STATEMENTS = (
    """
    CREATE TABLE decision (
        decision_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind text NOT NULL,
        -- What waits, and what a person knows it by.
        subject text NOT NULL,
        about text NOT NULL,
        question text NOT NULL,
        choices text[] NOT NULL CHECK (cardinality(choices) > 0),
        role text NOT NULL,
        opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        choice text CHECK (choice = ANY (choices)),
        decided_by text,
        decided_at timestamptz,
        CHECK ((choice IS NULL) = (decided_at IS NULL) AND (decided_by IS NULL) = (decided_at IS NULL))
    )
    """,
    # It waits for one decision at a time.
    "CREATE UNIQUE INDEX decision_open ON decision (kind, subject) WHERE decided_at IS NULL",
    "CREATE INDEX decision_about ON decision (about)",
    "CREATE INDEX decision_age ON decision (decided_at) WHERE decided_at IS NOT NULL",
    "CREATE INDEX decision_waits ON decision (decision_id) WHERE decided_at IS NULL",
    """
    INSERT INTO decision (kind, subject, about, question, choices, role)
    SELECT 'step', execution_id, subject, format('%s waits for a person: %s', split_part(waits_for, ':', 1), message),
           CASE WHEN direction = 'undo' THEN ARRAY['retry', 'done']
                WHEN execution.state = 'undoing' THEN ARRAY['retry', 'done', 'refused', 'failed']
                ELSE ARRAY['retry', 'done', 'refused', 'failed', 'cancel'] END, 'operator'
      FROM execution JOIN execution_step USING (execution_id)
     WHERE waits_for = step || ':' || direction
    """,
    """
    CREATE TABLE execution_run (
        execution_id text NOT NULL REFERENCES execution ON DELETE CASCADE,
        -- As Airflow names the run.
        run_id text NOT NULL,
        taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (execution_id, run_id)
    )
    """,
    # Every state, with its quantity and when it began. Of an older hold, the first and the present one are known.
    "ALTER TABLE stock_hold ADD COLUMN log jsonb NOT NULL DEFAULT '[]'",
    """
    UPDATE stock_hold SET log = jsonb_build_array(jsonb_build_object('state', 'held', 'at', held_at, 'quantity', quantity))
                             || CASE state WHEN 'held' THEN '[]'::jsonb ELSE jsonb_build_array(
                                    jsonb_build_object('state', state, 'at', changed_at, 'quantity', quantity)) END
    """,
    """
    CREATE FUNCTION log_hold() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' OR (NEW.state, NEW.quantity) <> (OLD.state, OLD.quantity) THEN
            NEW.log := NEW.log
                || jsonb_build_object('state', NEW.state, 'at', clock_timestamp(), 'quantity', NEW.quantity);
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER log_hold BEFORE INSERT OR UPDATE OF state, quantity ON stock_hold
        FOR EACH ROW EXECUTE FUNCTION log_hold()
    """,
    # All of its SKUs, not that of the master alone.
    "CREATE INDEX product_skus ON product USING gin (jsonb_path_query_array(variants, '$[*].sku'))",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
