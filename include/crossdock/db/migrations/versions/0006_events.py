"""The event store in partitions, its readers with cursor and inbox, failed deliveries, replays, availability, audit chain."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    # From here on the table is the first partition of a store in partitions by the month in which an event came in.
    # Not by the event's own `time`, which its maker chose. What is there stays where it is: no row is written again.
    "ALTER TABLE event RENAME TO event_first",
    "ALTER TABLE event_first ADD COLUMN stored_at timestamptz NOT NULL DEFAULT now()",
    "ALTER TABLE event_first ALTER stored_at SET DEFAULT clock_timestamp()",
    "ALTER TABLE event_first DROP CONSTRAINT event_pkey",
    "ALTER TABLE event_first ALTER position DROP IDENTITY",
    "DROP INDEX event_of_source",
    # A sequence beside the table: partitions cannot have identity columns before PostgreSQL 17.
    "CREATE SEQUENCE event_position",
    "SELECT setval('event_position', coalesce((SELECT max(position) FROM event_first), 0) + 1, false)",
    """
    CREATE TABLE event (
        epoch integer NOT NULL DEFAULT 1,
        xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
        position bigint NOT NULL DEFAULT nextval('event_position'),
        event_id text COLLATE "C",
        source text COLLATE "C" NOT NULL,
        type text COLLATE "C" NOT NULL,
        subject text COLLATE "C",
        time timestamptz NOT NULL,
        partition_key text COLLATE "C" NOT NULL,
        correlation_id text,
        causation_id text,
        trace_parent text,
        schema_version integer NOT NULL DEFAULT 1,
        data json NOT NULL,
        silent boolean NOT NULL DEFAULT false,
        stored_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (epoch, xid, position, stored_at)
    ) PARTITION BY RANGE (stored_at)
    """,
    "ALTER TABLE event_first ALTER position SET DEFAULT nextval('event_position')",
    # The end of the current month in UTC; later partitions are made ahead of time (see event_partitions).
    """
    DO $$ BEGIN
        EXECUTE format('ALTER TABLE event ATTACH PARTITION event_first FOR VALUES FROM (MINVALUE) TO (%L)',
                       (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC');
    END $$
    """,
    # Only if nobody made the next partition in time: a sync must never stop for want of one.
    "CREATE TABLE event_default PARTITION OF event DEFAULT",
    # Positions come nearly in the order of the pages, so this index is a few pages, costs a write nothing, and
    # finds one event among millions.
    "CREATE INDEX event_by_position ON event USING brin (position) WITH (pages_per_range = 16, autosummarize = on)",
    "CREATE INDEX event_by_time ON event USING brin (stored_at) WITH (pages_per_range = 64, autosummarize = on)",
    # What others call their events. A unique index of a table in partitions must hold the partition's key, and would
    # then let the same id in again next month; so the ids are kept here, past the events' own retention.
    """
    CREATE TABLE event_identity (
        event_id text COLLATE "C" NOT NULL,
        source text COLLATE "C" NOT NULL,
        stored_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        CONSTRAINT event_of_source PRIMARY KEY (event_id, source)
    )
    """,
    """
    INSERT INTO event_identity (event_id, source, stored_at)
    SELECT event_id, source, stored_at FROM event_first WHERE event_id IS NOT NULL
    """,
    # After the row, and only where there is an id: a COPY of the hub's own events still goes in by whole pages.
    """
    CREATE FUNCTION keep_event_identity() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO event_identity (event_id, source) VALUES (NEW.event_id, NEW.source);
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER event_identity AFTER INSERT ON event
        FOR EACH ROW WHEN (NEW.event_id IS NOT NULL) EXECUTE FUNCTION keep_event_identity()
    """,
    # One row per subscriber and key partition: who reads it, under which token, and up to where it has come.
    # A holder that is there after its life has ended died at its work; one that ended well left none.
    """
    CREATE TABLE event_reader (
        subscriber text COLLATE "C" NOT NULL,
        partition integer NOT NULL,
        partitions integer NOT NULL,
        holder text,
        token bigint NOT NULL DEFAULT 0,
        expires_at timestamptz NOT NULL DEFAULT '-infinity',
        wanted_by text,
        wanted_at timestamptz NOT NULL DEFAULT '-infinity',
        epoch integer NOT NULL DEFAULT 0,
        xid xid8 NOT NULL DEFAULT '0',
        position bigint NOT NULL DEFAULT 0,
        delivered bigint NOT NULL DEFAULT 0,
        moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (subscriber, partition)
    ) WITH (fillfactor = 50)
    """,
    # What has had its effect at whom, written in the transaction of the effect.
    """
    CREATE TABLE event_inbox (
        subscriber text COLLATE "C" NOT NULL,
        position bigint NOT NULL,
        epoch integer NOT NULL,
        PRIMARY KEY (subscriber, position, epoch)
    )
    """,
    # A delivery that failed, with what waits behind it. `trying` is committed before a handler that may kill its
    # worker is called, so that the next worker knows.
    """
    CREATE TABLE failed_delivery (
        letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        subscriber text COLLATE "C" NOT NULL,
        epoch integer NOT NULL,
        xid xid8 NOT NULL,
        position bigint NOT NULL,
        source text COLLATE "C" NOT NULL,
        event_id text COLLATE "C",
        type text COLLATE "C" NOT NULL,
        subject text COLLATE "C",
        time timestamptz NOT NULL,
        partition_key text COLLATE "C" NOT NULL,
        partition integer NOT NULL,
        correlation_id text,
        schema_version integer NOT NULL,
        data json NOT NULL,
        mended json,
        state text NOT NULL
            CHECK (state IN ('trying', 'retrying', 'waiting', 'dead', 'recovered', 'replayed', 'discarded', 'superseded')),
        attempts integer NOT NULL DEFAULT 0,
        next_try_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        cause text,
        reason text,
        first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        closed_at timestamptz,
        closed_by text,
        UNIQUE (subscriber, epoch, position)
    )
    """,
    """
    CREATE INDEX failed_delivery_at_work ON failed_delivery (subscriber, partition, partition_key, epoch, xid, position)
     WHERE state IN ('trying', 'retrying', 'waiting')
    """,
    "CREATE INDEX failed_delivery_dead ON failed_delivery (subscriber, type, subject) WHERE state = 'dead'",
    # A replay that somebody asked for: of events to a subscriber, or of dead letters. Whoever sets `stopped` stops it.
    """
    CREATE TABLE event_replay (
        replay_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        what text NOT NULL CHECK (what IN ('events', 'letters')),
        request jsonb NOT NULL,
        rate double precision CHECK (rate > 0),
        state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'stopped', 'failed')),
        total bigint NOT NULL,
        done bigint NOT NULL DEFAULT 0,
        failed bigint NOT NULL DEFAULT 0,
        actor text NOT NULL,
        asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at timestamptz,
        worker text,
        worker_until timestamptz NOT NULL DEFAULT '-infinity'
    )
    """,
    # The read model of E9: one row per stock entry, and what can be sold of a sku over all warehouses. Kept by
    # events alone; `as_of` is the event's time, so that a rebuild gives the same bytes.
    """
    CREATE TABLE stock_availability (
        source text COLLATE "C" NOT NULL,
        id text COLLATE "C" NOT NULL,
        sku text COLLATE "C" NOT NULL,
        warehouse text COLLATE "C",
        available bigint NOT NULL,
        version bigint NOT NULL,
        as_of timestamptz NOT NULL,
        PRIMARY KEY (id, source)
    ) WITH (fillfactor = 70)
    """,
    "CREATE INDEX stock_availability_sku ON stock_availability (sku)",
    # A warehouse that has promised more than it has takes nothing away from the others.
    """
    CREATE VIEW sku_availability AS
    SELECT sku, sum(greatest(available, 0))::bigint AS available, count(*) AS warehouses, max(as_of) AS as_of
      FROM stock_availability GROUP BY sku
    """,
    # Each audit entry carries the hash of the one before it. Chained at the commit, one transaction at a time, so
    # that the lock is held for an instant and never while somebody waits for rows.
    "ALTER TABLE audit_entry ADD COLUMN chain_no bigint UNIQUE, ADD COLUMN hash bytea",
    """
    CREATE FUNCTION audit_hash(before bytea, entry audit_entry) RETURNS bytea LANGUAGE sql STABLE AS $$
        SELECT sha256(before || convert_to(jsonb_build_array(
            entry.chain_no, entry.entry_id, extract(epoch FROM entry.at), entry.actor, entry.act, entry.subject,
            entry.detail)::text, 'UTF8'))
    $$
    """,
    """
    CREATE FUNCTION chain_audit_entry() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        entry audit_entry;
        last_no bigint;
        last_hash bytea;
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('crossdock-audit-chain'));
        SELECT chain_no, hash INTO last_no, last_hash
          FROM audit_entry WHERE chain_no IS NOT NULL ORDER BY chain_no DESC LIMIT 1;
        SELECT * INTO entry FROM audit_entry WHERE entry_id = NEW.entry_id AND chain_no IS NULL;
        IF FOUND THEN
            entry.chain_no := coalesce(last_no, 0) + 1;
            UPDATE audit_entry
               SET chain_no = entry.chain_no, hash = audit_hash(coalesce(last_hash, ''::bytea), entry)
             WHERE entry_id = entry.entry_id;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    DO $$
    DECLARE
        entry audit_entry;
        last_hash bytea := ''::bytea;
        last_no bigint := 0;
    BEGIN
        FOR entry IN SELECT * FROM audit_entry ORDER BY entry_id LOOP
            last_no := last_no + 1;
            entry.chain_no := last_no;
            last_hash := audit_hash(last_hash, entry);
            UPDATE audit_entry SET chain_no = last_no, hash = last_hash WHERE entry_id = entry.entry_id;
        END LOOP;
    END $$
    """,
    """
    CREATE CONSTRAINT TRIGGER audit_chain AFTER INSERT ON audit_entry
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION chain_audit_entry()
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
