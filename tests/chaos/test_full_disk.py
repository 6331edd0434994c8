"""A disk that is full: a clear error that passes when there is room, nothing lost, and the same run continues."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from crossdock.app.database import migrate
from crossdock.db.database import Store, StoreUnavailable
from crossdock.stack.postgres import HUB_OPTIONS, PostgresServer
from crossdock.sync import extract, load, validate
from crossdock.sync.landing import LandingUnavailable
from tests.chaos import children
from tests.chaos.conftest import FULL, SMALL, Hub
from tests.chaos.promises import broken, broken_on_the_way
from tests.shop import free_port, query

pytestmark = pytest.mark.crash

#: Less than a page or a batch takes, more than nothing: files are cut, not missing.
_ROOM_BYTES = 300


def without_room(work: Callable[[], object]) -> None:
    """*work*, in a process that may write no file larger than _ROOM_BYTES; the rest of the machine is not touched."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (_ROOM_BYTES, _ROOM_BYTES))
    work()


def assert_nothing_is_lost_and_it_goes_on(hub: Hub) -> None:
    with Store(hub.dsn) as store:
        assert broken_on_the_way(hub.shop, store) == []
    assert children.run(lambda: hub.sync(FULL, "the run")) == 0
    with Store(hub.dsn) as store:
        assert broken(hub.shop, store, overlap=hub.overlap) == []
        assert query(store, "SELECT count(*), sum(read) FROM sync_run") == [(1, 120)]


def test_a_landing_without_room_for_a_page_fails_the_task_until_there_is_some(hub: Hub) -> None:
    """D11: the half of a page that was written is not taken for a page."""
    died = children.run(lambda: without_room(lambda: hub.sync(FULL, "the run")), expected=LandingUnavailable)

    assert died == children.EXPECTED
    with Store(hub.dsn) as store:
        assert query(store, "SELECT count(*) FROM landed_page") == [(0,)]
    assert_nothing_is_lost_and_it_goes_on(hub)


def test_a_landing_without_room_for_a_batch_fails_the_task_until_there_is_some(hub: Hub) -> None:
    """D11: what was read stays and is not read again."""

    def work() -> None:
        with Store(hub.dsn) as store:
            run_id = extract(SMALL, hub.systems(store), FULL, dag_run_id="the run")
            without_room(lambda: validate(SMALL, hub.systems(store), run_id))

    assert children.run(work, expected=LandingUnavailable) == children.EXPECTED
    with Store(hub.dsn) as store:
        assert query(store, "SELECT count(*) FROM sync_batch") == [(0,)]
    assert_nothing_is_lost_and_it_goes_on(hub)


def test_a_hub_database_without_room_fails_the_task_until_there_is_some(hub: Hub, small_server: PostgresServer) -> None:
    """D11: the batch that did not fit is rolled back whole: no row without its event."""
    hub.dsn = small_server.dsn()

    def work() -> None:
        with Store(hub.dsn) as store:
            run_id = validate(SMALL, hub.systems(store), extract(SMALL, hub.systems(store), FULL, dag_run_id="the run"))
            load(SMALL, hub.systems(store), run_id)

    with filled_up(small_server):
        died = children.run(work, expected=StoreUnavailable)

    assert died == children.EXPECTED
    with Store(hub.dsn) as store:
        assert query(store, "SELECT count(*) FROM inventory") == [(0,)]
        assert query(store, "SELECT sum(records), count(*) FILTER (WHERE loaded) FROM landed_page") == [(120, 0)]
    assert_nothing_is_lost_and_it_goes_on(hub)


@pytest.fixture
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server that may be started anew without another test's noticing."""
    server = PostgresServer(tmp_path_factory.mktemp("small") / "server", free_port(), "test", options=HUB_OPTIONS)
    server.initialise()
    server.start()
    migrate(server.dsn())
    yield server
    server.remove()


@contextmanager
def filled_up(server: PostgresServer) -> Iterator[None]:
    """The table of events can grow no further: its file is as long as the server may write one."""
    # Larger than a segment of the write-ahead log: that one must always be written, or the server ends.
    with psycopg.connect(server.dsn(), autocommit=True, options="-c search_path=hub") as connection:
        connection.execute(
            "INSERT INTO event (source, type, subject, time, partition_key, data)"
            " SELECT 'filler', 'filler', 'filler/' || n, now(), 'filler',"
            " jsonb_build_object('fill', (SELECT string_agg(md5(n::text || i), '') FROM generate_series(1, 40) i))"
            " FROM generate_series(1, 13000) n"
        )
        connection.execute("VACUUM FULL event_first")  # no room within it either
        (size,) = connection.execute("SELECT pg_relation_size('event_first')").fetchone() or (0,)
    assert size > 16 * 1024**2
    server.stop()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    yield
    server.stop()
    server.start()
