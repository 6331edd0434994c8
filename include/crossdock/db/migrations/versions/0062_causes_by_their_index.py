"""The causes of the quarantine and the records of one are found by one index, without reading the records."""

from __future__ import annotations

from alembic import op

revision = "0062"
down_revision = "0061"

STATEMENTS = (
    (
        "CREATE INDEX quarantine_open_of_cause ON quarantine_item (integration, dataset, cause, item_id) INCLUDE (first_seen_at)"
        " WHERE state = 'open'"
    ),
    # The same columns without the last two.
    "DROP INDEX quarantine_open",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
