"""Products, orders with their lines, lineage; runs count lines too and report drift."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

_FATES = ("read", "inserted", "updated", "unchanged", "stale", "rejected", "held")

STATEMENTS = (
    # What cleansing changed, and from what; null where a record came clean.
    "ALTER TABLE inventory ADD COLUMN lineage jsonb",
    "ALTER TABLE inventory_history ADD COLUMN lineage jsonb",
    """
    CREATE TABLE product (
        integration text COLLATE "C" NOT NULL,
        id text COLLATE "C" NOT NULL,
        version bigint NOT NULL,
        key text COLLATE "C" NOT NULL,
        product_type text COLLATE "C",
        published boolean NOT NULL,
        name jsonb NOT NULL,
        slug jsonb NOT NULL,
        description jsonb,
        categories jsonb NOT NULL,
        master_sku text COLLATE "C" NOT NULL,
        price_minor bigint,
        price_currency text COLLATE "C",
        price_exponent bigint,
        variants jsonb NOT NULL,
        created_at timestamptz NOT NULL,
        last_modified_at timestamptz NOT NULL,
        lineage jsonb,
        batch_id bigint NOT NULL,
        PRIMARY KEY (id, integration)
    )
    """,
    "CREATE INDEX product_key ON product (key)",
    "CREATE INDEX product_sku ON product (master_sku)",
    "CREATE TABLE product_history (LIKE product, superseded_by bigint NOT NULL, PRIMARY KEY (id, integration, version))",
    # An order with its lines in one row: they come, change and are superseded together.
    """
    CREATE TABLE sales_order (
        integration text COLLATE "C" NOT NULL,
        id text COLLATE "C" NOT NULL,
        version bigint NOT NULL,
        order_number text COLLATE "C" NOT NULL,
        order_state text COLLATE "C" NOT NULL,
        payment_state text COLLATE "C",
        shipment_state text COLLATE "C",
        customer_id text COLLATE "C",
        customer_email text COLLATE "C",
        country text COLLATE "C",
        currency text COLLATE "C" NOT NULL,
        total_minor bigint NOT NULL,
        line_count bigint NOT NULL,
        lines jsonb NOT NULL,
        shipping_address jsonb,
        placed_at timestamptz NOT NULL,
        last_modified_at timestamptz NOT NULL,
        lineage jsonb,
        batch_id bigint NOT NULL,
        PRIMARY KEY (id, integration)
    )
    """,
    "CREATE INDEX sales_order_number ON sales_order (order_number)",
    "CREATE INDEX sales_order_customer ON sales_order (customer_id)",
    """
    CREATE TABLE sales_order_history (
        LIKE sales_order, superseded_by bigint NOT NULL, PRIMARY KEY (id, integration, version))
    """,
    # A record's past is asked for by its business key.
    "CREATE INDEX inventory_history_sku ON inventory_history (sku)",
    "CREATE INDEX product_history_key ON product_history (key)",
    "CREATE INDEX sales_order_history_number ON sales_order_history (order_number)",
    # The lines as rows, for people and reports; nothing is stored twice.
    """
    CREATE VIEW sales_order_line AS
    SELECT o.integration, o.id AS order_id, o.order_number, o.placed_at, o.currency, line.ordinality AS line_no,
           line.value->>'sku' AS sku, line.value->>'code' AS code, line.value->>'name' AS name,
           (line.value->>'quantity')::bigint AS quantity, (line.value->>'price')::numeric AS price,
           (line.value->>'price_minor')::bigint AS price_minor, (line.value->>'total_minor')::bigint AS total_minor,
           coalesce(line.value->>'kind', 'goods') AS kind
      FROM sales_order o, jsonb_array_elements(o.lines) WITH ORDINALITY AS line
    """,
    "ALTER TABLE landed_page ADD COLUMN lines bigint NOT NULL DEFAULT 0",
    "ALTER TABLE sync_batch ADD COLUMN lines bigint NOT NULL DEFAULT 0",
    *(f"ALTER TABLE sync_run ADD COLUMN lines_{fate} bigint NOT NULL DEFAULT 0" for fate in _FATES),
    """
    ALTER TABLE sync_run ADD CONSTRAINT every_line_accounted_for CHECK (
        state IN ('running', 'failed') OR lines_read
            = lines_inserted + lines_updated + lines_unchanged + lines_stale + lines_rejected + lines_held)
    """,
    # Airflow's run ids are unique within a DAG only: two schedules that meet give the same one.
    "ALTER TABLE sync_run ADD COLUMN dag_id text",
    "ALTER TABLE sync_run DROP CONSTRAINT sync_run_dag_run_id_attempt_key",
    "CREATE UNIQUE INDEX sync_run_of_dag_run ON sync_run (entity, coalesce(dag_id, ''), dag_run_id, attempt)",
    # Fields of the source that are new, gone or of another type than the contract says.
    "ALTER TABLE sync_run ADD COLUMN drift jsonb",
    # An event of a backfill is kept, and told to nobody unless somebody asks for it.
    "ALTER TABLE event ADD COLUMN silent boolean NOT NULL DEFAULT false",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
