"""Warehouses have names: sources such as commercetools know a warehouse by an ID that says nothing to people."""

from __future__ import annotations

from alembic import op

revision = "0058"
down_revision = "0057"


def upgrade() -> None:
    op.execute("ALTER TABLE warehouse ADD COLUMN name text")
