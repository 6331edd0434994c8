"""Customers, and the history of their versions."""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"

STATEMENTS = (
    """
    CREATE TABLE customers (
        integration text COLLATE "C" NOT NULL,
        id text COLLATE "C" NOT NULL,
        version bigint NOT NULL,
        email text COLLATE "C" NOT NULL,
        first_name text COLLATE "C",
        last_name text COLLATE "C",
        company_name text COLLATE "C",
        customer_number text COLLATE "C",
        external_id text COLLATE "C",
        locale text COLLATE "C",
        email_verified boolean,
        addresses jsonb,
        created_at timestamptz NOT NULL,
        last_modified_at timestamptz NOT NULL,
        lineage jsonb,
        batch_id bigint NOT NULL,
        PRIMARY KEY (id, integration)
    )
    """,
    "CREATE INDEX customers_email ON customers (email)",
    "CREATE TABLE customers_history (LIKE customers, superseded_by bigint NOT NULL, PRIMARY KEY (id, integration, version))",
    "CREATE INDEX customers_history_email ON customers_history (email)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
