"""What is due is looked for by its driver: orders that wait for the DAG are not read with each look of the events' loop."""

from __future__ import annotations

from alembic import op

revision = "0039"
down_revision = "0038"

STATEMENTS = (
    "DROP INDEX execution_due",
    "CREATE INDEX execution_due ON execution (driver, next_at) WHERE next_at IS NOT NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
