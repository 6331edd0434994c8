"""Ledger, lease, landing, inventory with history, events, quarantine, audit."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = (
    # Who may write an entity now. The token counts up at each change of hands; a batch commits only
    # under the token that its run was given, so a worker that slept through its lease cannot write.
    """
    CREATE TABLE lease (
        integration text NOT NULL,
        entity text NOT NULL,
        partition text NOT NULL,
        holder text NOT NULL,
        token bigint NOT NULL,
        expires_at timestamptz NOT NULL,
        PRIMARY KEY (integration, entity, partition)
    )
    """,
    """
    CREATE TABLE watermark (
        integration text NOT NULL,
        entity text NOT NULL,
        partition text NOT NULL,
        reached timestamptz NOT NULL,
        moved_by text NOT NULL,
        moved_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (integration, entity, partition)
    )
    """,
    # The ledger. A run that ends well must account for every record it read: the last check is a promise.
    """
    CREATE TABLE sync_run (
        run_id text COLLATE "C" PRIMARY KEY,
        integration text NOT NULL,
        entity text NOT NULL,
        partition text NOT NULL,
        mode text NOT NULL CHECK (mode IN ('full', 'delta', 'window', 'keys', 'replay')),
        request jsonb NOT NULL,
        dag_run_id text,
        attempt integer NOT NULL DEFAULT 1,
        state text NOT NULL CHECK (state IN ('running', 'done', 'partial', 'held', 'failed')),
        fencing_token bigint NOT NULL DEFAULT 0,
        window_low timestamptz,
        window_high timestamptz,
        moves_watermark boolean NOT NULL,
        expected_records bigint,
        read bigint NOT NULL DEFAULT 0,
        inserted bigint NOT NULL DEFAULT 0,
        updated bigint NOT NULL DEFAULT 0,
        unchanged bigint NOT NULL DEFAULT 0,
        stale bigint NOT NULL DEFAULT 0,
        rejected bigint NOT NULL DEFAULT 0,
        held bigint NOT NULL DEFAULT 0,
        error text,
        started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        finished_at timestamptz,
        UNIQUE (dag_run_id, attempt),
        CONSTRAINT every_record_accounted_for CHECK (
            state IN ('running', 'failed') OR read = inserted + updated + unchanged + stale + rejected + held
        )
    )
    """,
    "CREATE INDEX sync_run_newest ON sync_run (started_at DESC)",
    # The disjoint parts of a run's window, and where the reading of each stands.
    """
    CREATE TABLE sync_range (
        run_id text COLLATE "C" NOT NULL REFERENCES sync_run ON DELETE CASCADE,
        range_no integer NOT NULL,
        axis text NOT NULL CHECK (axis IN ('time', 'id', 'keys')),
        low text,
        high text,
        field text,
        keys text[],
        read_done boolean NOT NULL DEFAULT false,
        PRIMARY KEY (run_id, range_no)
    )
    """,
    # One row per page that landed, in reading order; the cursor is the last record on it.
    """
    CREATE TABLE landed_page (
        run_id text COLLATE "C" NOT NULL,
        range_no integer NOT NULL,
        page_no integer NOT NULL,
        records integer NOT NULL,
        bytes integer NOT NULL,
        path text NOT NULL,
        cursor_at timestamptz,
        cursor_id text,
        loaded boolean NOT NULL DEFAULT false,
        landed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (run_id, range_no, page_no),
        FOREIGN KEY (run_id, range_no) REFERENCES sync_range ON DELETE CASCADE
    )
    """,
    # A batch is validated, then loaded in one transaction: wholly done or wholly open.
    """
    CREATE TABLE sync_batch (
        batch_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        run_id text COLLATE "C" NOT NULL REFERENCES sync_run ON DELETE CASCADE,
        batch_no integer NOT NULL,
        first_range integer,
        first_page integer,
        last_range integer,
        last_page integer,
        records integer NOT NULL,
        loaded_at timestamptz,
        UNIQUE (run_id, batch_no)
    )
    """,
    """
    CREATE TABLE inventory (
        integration text COLLATE "C" NOT NULL,
        id text COLLATE "C" NOT NULL,
        version bigint NOT NULL,
        sku text COLLATE "C" NOT NULL,
        supply_channel text COLLATE "C",
        quantity_on_stock bigint NOT NULL CHECK (quantity_on_stock >= 0),
        available_quantity bigint NOT NULL,
        restockable_in_days bigint,
        expected_delivery_at timestamptz,
        created_at timestamptz NOT NULL,
        last_modified_at timestamptz NOT NULL,
        batch_id bigint NOT NULL,
        PRIMARY KEY (id, integration)
    )
    """,
    "CREATE INDEX inventory_sku ON inventory (sku)",
    """
    CREATE TABLE inventory_history (
        LIKE inventory,
        superseded_by bigint NOT NULL,
        PRIMARY KEY (id, integration, version)
    )
    """,
    # Events are read in the order (epoch, xid, position), below the snapshot's horizon: never by
    # position alone, which loses what commits late. `epoch` counts up when a database is restored.
    """
    CREATE TABLE event (
        epoch integer NOT NULL DEFAULT 1,
        xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
        position bigint GENERATED ALWAYS AS IDENTITY,
        event_id text COLLATE "C" NOT NULL,
        source text COLLATE "C" NOT NULL,
        type text COLLATE "C" NOT NULL,
        subject text COLLATE "C",
        time timestamptz NOT NULL,
        partition_key text COLLATE "C" NOT NULL,
        correlation_id text,
        causation_id text,
        trace_parent text,
        schema_version integer NOT NULL DEFAULT 1,
        data jsonb NOT NULL,
        PRIMARY KEY (epoch, xid, position),
        UNIQUE (event_id, source)
    )
    """,
    # An id that sorts by time keeps the unique index warm: random ones cost as much as the rows.
    # PostgreSQL 18 has uuidv7(); this is the same for 15 to 17: 48 bits of milliseconds, then chance.
    """
    CREATE FUNCTION new_event_id() RETURNS text LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
        SELECT overlay(
            overlay(gen_random_uuid()::text PLACING substr(now_ms, 1, 8) || '-' || substr(now_ms, 9, 4) FROM 1 FOR 13)
            PLACING '7' FROM 15 FOR 1)
          FROM (SELECT lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') AS now_ms
                OFFSET 0) AS clock
    $$
    """,
    """
    DO $$ BEGIN
        IF current_setting('server_version_num')::int >= 180000 THEN
            CREATE OR REPLACE FUNCTION new_event_id() RETURNS text LANGUAGE sql VOLATILE PARALLEL SAFE
                AS 'SELECT uuidv7()::text';
        END IF;
    END $$
    """,
    # One item per version of a record that failed, whole as it came (bytes: jsonb refuses NUL and
    # lone surrogates, which is often why the record is here). Seen again, it counts up; it never doubles.
    """
    CREATE TABLE quarantine_item (
        item_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        integration text NOT NULL,
        entity text NOT NULL,
        record_id text NOT NULL,
        record_key text,
        version bigint NOT NULL,
        state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded', 'superseded')),
        cause text NOT NULL,
        failures jsonb NOT NULL,
        raw bytea NOT NULL,
        mended bytea,
        lines integer NOT NULL DEFAULT 1,
        times_seen integer NOT NULL DEFAULT 1,
        first_run_id text NOT NULL,
        last_run_id text NOT NULL,
        first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        closed_at timestamptz,
        closed_by text,
        UNIQUE (integration, entity, record_id, version)
    )
    """,
    "CREATE INDEX quarantine_open ON quarantine_item (integration, entity, cause) WHERE state = 'open'",
    # Records that could not be loaded for a passing reason; the next run reads exactly these again.
    """
    CREATE TABLE open_record (
        integration text NOT NULL,
        entity text NOT NULL,
        record_id text NOT NULL,
        reason text NOT NULL,
        attempts integer NOT NULL DEFAULT 1,
        first_run_id text NOT NULL,
        since timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (integration, entity, record_id)
    )
    """,
    """
    CREATE TABLE audit_entry (
        entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        actor text NOT NULL,
        act text NOT NULL,
        subject text NOT NULL,
        detail jsonb NOT NULL
    )
    """,
    """
    CREATE TABLE alert (
        alert_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        kind text NOT NULL,
        subject text NOT NULL,
        message text NOT NULL,
        UNIQUE (kind, subject)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
