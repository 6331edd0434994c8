"""Which server and database the events of each epoch were written in, so that a restored dump is known at once."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"

STATEMENTS = (
    # A role that may not ask for the server's number knows the database's alone.
    """
    DO $$ BEGIN
        IF has_function_privilege('pg_control_system()', 'EXECUTE') THEN
            CREATE FUNCTION hub_server() RETURNS bigint LANGUAGE sql STABLE
                AS 'SELECT system_identifier FROM pg_control_system()';
        ELSE
            CREATE FUNCTION hub_server() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT 0::bigint';
        END IF;
    END $$
    """,
    """
    CREATE TABLE event_epoch (
        epoch integer PRIMARY KEY,
        server bigint NOT NULL,
        database oid NOT NULL,
        since timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    # What is written now: the column's default, which a restore may have set without an event since.
    """
    INSERT INTO event_epoch (epoch, server, database)
    SELECT pg_get_expr(adbin, adrelid)::int, hub_server(), (SELECT oid FROM pg_database WHERE datname = current_database())
      FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
     WHERE adrelid = 'event'::regclass AND attname = 'epoch'
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
