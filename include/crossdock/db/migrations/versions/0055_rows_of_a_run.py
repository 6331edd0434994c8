"""Rows of a run: which items of the quarantine each run rejected, and the rows that a batch wrote, by a small index."""

from __future__ import annotations

from alembic import op

revision = "0055"
down_revision = "0054"

_SMALL = "WITH (pages_per_range = 16, autosummarize = on)"
_TABLES = ("inventory", "product", "prices", "sales_order", "customers", "record")

STATEMENTS = (
    # An item names only the first and the last run that had it.
    """
    CREATE TABLE rejection (
        run_id text COLLATE "C" NOT NULL REFERENCES sync_run ON DELETE CASCADE,
        item_id bigint NOT NULL REFERENCES quarantine_item ON DELETE CASCADE,
        PRIMARY KEY (run_id, item_id)
    )
    """,
    """
    INSERT INTO rejection (run_id, item_id)
    SELECT first_run_id, item_id FROM quarantine_item WHERE first_run_id IN (SELECT run_id FROM sync_run)
     UNION SELECT last_run_id, item_id FROM quarantine_item WHERE last_run_id IN (SELECT run_id FROM sync_run)
    """,
    # Batches are numbered as they come, and history is only appended to: a thousandth of a tree's size, and an update of a
    # row stays on its page (HOT), which no tree would allow.
    *(f"CREATE INDEX {table}_batch ON {table} USING brin (batch_id) {_SMALL}" for table in _TABLES),
    *(
        f"CREATE INDEX {table}_history_batch ON {table}_history USING brin (batch_id, superseded_by) {_SMALL}"
        for table in _TABLES
    ),
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
