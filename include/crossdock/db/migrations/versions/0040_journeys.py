"""Ways to all that happened to one order, SKU or customer: none of a journey's parts reads a whole table."""

from __future__ import annotations

from alembic import op

revision = "0040"
down_revision = "0039"

STATEMENTS = (
    # What people did to one record.
    "CREATE INDEX audit_entry_subject ON audit_entry (subject)",
    "CREATE INDEX quarantine_of_key ON quarantine_item (record_key)",
    "CREATE INDEX placed_order_email ON placed_order (email) WHERE email IS NOT NULL",
    "CREATE INDEX mail_recipient ON mail (recipient) WHERE recipient IS NOT NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
