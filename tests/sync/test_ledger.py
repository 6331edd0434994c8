"""The ledger, the schema and the errors: what the database itself refuses, and how errors are reported."""

from __future__ import annotations

import secrets
import time

import msgspec
import psycopg
import pytest

from crossdock.app.database import migrate
from crossdock.core.errors import Terminal, Transient
from crossdock.db import leases
from crossdock.db.database import Store, StoreRefused, StoreUnavailable
from crossdock.db.migrate import is_current
from crossdock.events import store as event_store
from crossdock.stack.postgres import PostgresServer
from crossdock.sync import ledger
from crossdock.sync.model import Counts, Mode, RowCounts, RunState, SyncRequest
from tests.events.worlds import stock
from tests.shop import free_port, query

KEY = leases.LeaseKey("commercetools", "inventory")
SECRET = "canary-7f3a-4711"


def begun(store: Store, read: int = 0, **outcomes: int) -> str:
    with store.transaction() as work:
        run_id = ledger.start(work, KEY, SyncRequest(full=True), mode=Mode.FULL).run_id
        ledger.add_counts(work, run_id, RowCounts(records=Counts(read=read, **outcomes)))
        return run_id


def finish(store: Store, run_id: str, state: RunState) -> None:
    with store.transaction() as work:
        ledger.finish(work, run_id, state)


@pytest.mark.parametrize("state", [RunState.DONE, RunState.PARTIAL, RunState.HELD])
@pytest.mark.parametrize(("read", "inserted"), [(3, 2), (2, 3)])
def test_a_run_with_a_record_without_an_outcome_cannot_succeed(
    store: Store, state: RunState, read: int, inserted: int
) -> None:
    """A promise of the database, not of the code that might forget it."""
    run_id = begun(store, read, inserted=inserted)

    with pytest.raises(StoreRefused, match="every_record_accounted_for"):
        finish(store, run_id, state)

    finish(store, run_id, RunState.FAILED)
    assert query(store, "SELECT state FROM sync_run") == [("failed",)]


def test_each_outcome_counts_once(store: Store) -> None:
    run_id = begun(store, 21, inserted=1, updated=2, unchanged=3, stale=4, rejected=5, held=6)

    finish(store, run_id, RunState.PARTIAL)

    assert query(store, "SELECT state FROM sync_run") == [("partial",)]


def test_an_end_is_written_once(store: Store) -> None:
    """A zombie that fails later must not mark a finished run as failed."""
    run_id = begun(store)
    finish(store, run_id, RunState.DONE)

    finish(store, run_id, RunState.FAILED)

    assert query(store, "SELECT state, error FROM sync_run") == [("done", None)]


def test_a_retried_task_finds_its_run_and_a_cleared_one_starts_the_next_attempt(store: Store) -> None:
    def start() -> ledger.Run:
        with store.transaction() as work:
            return ledger.start(work, KEY, SyncRequest(), mode=Mode.DELTA, dag_run_id="scheduled")

    first, retried = start(), start()
    finish(store, first.run_id, RunState.FAILED)
    cleared = start()

    assert retried.run_id == first.run_id
    assert (cleared.run_id != first.run_id, cleared.attempt) == (True, 2)


# Migrations


def test_migrating_again_changes_nothing(hub_dsn: str) -> None:
    assert is_current(hub_dsn)
    before = schema_of(hub_dsn)

    migrate(hub_dsn)

    assert is_current(hub_dsn)
    assert schema_of(hub_dsn) == before


def schema_of(dsn: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "SELECT table_name, column_name, data_type, column_default FROM information_schema.columns"
            " WHERE table_schema = 'hub' ORDER BY 1, 2"
        ).fetchall()


def test_a_database_that_was_never_migrated_or_is_ahead_is_not_current(hub_dsn: str) -> None:
    """A hub that starts on the wrong schema would fail in the middle of a batch."""
    assert not is_current(hub_dsn, schema="another_hub")
    with psycopg.connect(hub_dsn) as connection:
        connection.execute("UPDATE hub.hub_alembic_version SET version_num = '9999'")

    assert not is_current(hub_dsn)


def test_two_hubs_live_in_two_schemas_of_one_database(hub_dsn: str) -> None:
    migrate(hub_dsn, schema="another_hub")

    assert is_current(hub_dsn, schema="another_hub")
    with Store(hub_dsn, schema="another_hub") as other:
        begun(other)
    with Store(hub_dsn) as hub:
        assert query(hub, "SELECT count(*) FROM sync_run") == [(0,)]


# Errors


def test_a_server_that_is_not_there_can_be_tried_again() -> None:
    with (
        pytest.raises(StoreUnavailable) as gone,
        Store(f"postgresql://hub:{SECRET}@127.0.0.1:{free_port()}/hub") as store,
        store.transaction(),
    ):
        pass

    assert isinstance(gone.value, Transient)
    assert SECRET not in str(gone.value)


def test_a_connection_that_was_ended_can_be_tried_again_and_then_works(store: Store, postgres: PostgresServer) -> None:
    """D3: a whole transaction is tried again, on a new connection."""
    with pytest.raises(StoreUnavailable), store.transaction() as work:  # noqa: PT012  the server goes in the middle
        (pid,) = work.execute(b"SELECT pg_backend_pid()").fetchone() or (0,)
        with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", [pid])
        work.execute(b"SELECT 1")

    assert query(store, "SELECT 1") == [(1,)]


def test_a_worker_that_slept_in_its_transaction_can_be_tried_again(store: Store) -> None:
    """The server ended it so that consumers of events could continue; the statement was right."""
    with pytest.raises(StoreUnavailable), store.transaction() as work:  # noqa: PT012  the sleep is in the middle
        work.execute(b"SET LOCAL idle_in_transaction_session_timeout = '20ms'")
        time.sleep(1)
        work.execute(b"SELECT 1")


def test_a_database_that_only_reads_can_be_tried_again(store: Store) -> None:
    """A standby that has not taken over yet."""
    with pytest.raises(StoreUnavailable, match="read-only"), store.transaction() as work:  # noqa: PT012
        work.execute(b"SET TRANSACTION READ ONLY")
        work.execute(b"INSERT INTO alert (kind, subject, message) VALUES ('k', 's', 'm')")


def test_a_lock_that_is_not_had_in_time_can_be_tried_again(store: Store, hub_dsn: str) -> None:
    with psycopg.connect(hub_dsn) as other, pytest.raises(StoreUnavailable), store.transaction() as work:  # noqa: PT012
        other.execute("LOCK TABLE hub.alert")
        work.execute(b"SET LOCAL lock_timeout = '20ms'")
        work.execute(b"SELECT * FROM alert")


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("SELEC 1", []),
        ("SELECT * FROM nowhere", []),
        ("INSERT INTO alert (kind, subject, message) VALUES (%s, NULL, 'm')", [SECRET]),
        ("INSERT INTO inventory (id, version) VALUES (%s, 1)", [SECRET]),
        ("INSERT INTO lease VALUES (%s, 'e', 'p', 'h', 1, now()), (%s, 'e', 'p', 'h', 1, now())", [SECRET, SECRET]),
        ("SELECT %s::text::bigint", [SECRET]),
        ("SELECT %s::text::timestamptz", [SECRET]),
        ("SELECT %s::text::jsonb", [SECRET]),
        ("INSERT INTO alert (kind, subject, message) VALUES (%s, 's', 'm')", [SECRET + "\x00"]),
    ],
)
def test_a_refused_statement_is_a_terminal_error_and_reveals_no_value(
    store: Store, statement: str, values: list[object]
) -> None:
    """Messages go to logs and alerts; rows may hold what belongs to a customer."""
    with pytest.raises(StoreRefused) as refused, store.transaction() as work:
        work.execute(statement.encode(), values)

    assert isinstance(refused.value, Terminal)
    assert SECRET not in str(refused.value)


def test_an_error_of_the_block_undoes_all_of_it(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction() as work:  # noqa: PT012  the write comes first
        work.execute(b"INSERT INTO alert (kind, subject, message) VALUES ('k', 's', 'm')")
        raise ZeroDivisionError

    assert query(store, "SELECT count(*) FROM alert") == [(0,)]


def test_two_dags_with_the_same_run_id_are_two_runs(store: Store) -> None:
    """Airflow's run ids are unique within a DAG only: the schedules of a sync and of its backfill meet at three."""
    key = leases.LeaseKey("commercetools", "orders")
    with store.transaction() as work:
        one = ledger.start(
            work, key, SyncRequest(), mode=Mode.DELTA, dag_id="sync_commercetools_orders", dag_run_id="scheduled__03:00"
        )
        two = ledger.start(
            work,
            key,
            SyncRequest(),
            mode=Mode.DELTA,
            dag_id="backfill_commercetools_orders",
            dag_run_id="scheduled__03:00",
        )
        again = ledger.start(
            work, key, SyncRequest(), mode=Mode.DELTA, dag_id="sync_commercetools_orders", dag_run_id="scheduled__03:00"
        )

    assert one.run_id == again.run_id != two.run_id


def test_a_limit_of_the_database_is_a_terminal_error_that_names_the_caller(store: Store) -> None:
    """Psycopg files it under what passes: a row that no index can hold was tried again for ever, and all behind it waited."""
    long_id = "".join(secrets.token_hex(16) for _ in range(400))
    event = msgspec.structs.replace(stock("CHAIR", 1, 1), event_id=long_id)

    with (
        pytest.raises(StoreRefused, match=r"of events\.store\.receive: index row") as refused,
        store.transaction() as work,
    ):
        event_store.receive(work, event)

    assert long_id[:50] not in str(refused.value)


@pytest.mark.parametrize(
    ("state", "passes"),
    [
        ("08006", True),
        ("40P01", True),
        ("53100", True),
        ("53200", True),
        ("55P03", True),
        ("57014", True),
        ("57P01", True),
        ("58030", True),
        ("25P03", True),
        ("25006", True),
        ("54000", False),
        ("54001", False),
        ("22003", False),
        ("22P02", False),
        ("23505", False),
        ("2F002", False),
        ("39P01", False),
        ("3B001", False),
        ("55000", False),
        ("42P01", False),
        ("0A000", False),
        ("P0001", False),
        ("25P02", False),
    ],
)
def test_an_error_that_passes_is_distinguished_from_one_that_does_not(store: Store, state: str, passes: bool) -> None:
    """By PostgreSQL's own code, raised by the server itself."""
    family = StoreUnavailable if passes else StoreRefused

    with pytest.raises(family), store.transaction() as work:
        work.execute(f"DO $$ BEGIN RAISE EXCEPTION 'over' USING ERRCODE = '{state}'; END $$".encode())
