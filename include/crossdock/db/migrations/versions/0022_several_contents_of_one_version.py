"""The history keeps several contents of one version: a source's clock may stand still while its record changes."""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"

_TABLES = ("inventory", "product", "sales_order", "record", "customers")

STATEMENTS = tuple(
    statement
    for table in _TABLES
    for statement in (
        f"ALTER TABLE {table}_history DROP CONSTRAINT {table}_history_pkey",
        # The batch that replaced it: a batch writes a record once.
        f"ALTER TABLE {table}_history ADD PRIMARY KEY (id, integration, version, superseded_by)",
    )
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
