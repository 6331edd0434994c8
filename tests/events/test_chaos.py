"""Killed, stopped, beside eight writers and with a handler that takes its worker along: nothing lost, nothing twice."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from crossdock.app.database import migrate
from crossdock.core.errors import HubError
from crossdock.db.database import Store, Work
from crossdock.events.delivery import PartitionAssignment, PollingConfig, deliver
from crossdock.events.model import STOCK_CHANGED, Event
from crossdock.events.subscriber import Subscriber
from crossdock.stack.postgres import HUB_OPTIONS, PostgresServer
from tests.chaos import children
from tests.events import tally
from tests.events.worlds import QUICK, delivery, eventually, publish, stock
from tests.shop import free_port, query

pytestmark = pytest.mark.crash

POINTS = ["deliver.read", "deliver.before_commit", "deliver.committed"]


def tallying(work: Work, events: Sequence[Event]) -> None:
    """Does once more each time it is called; nothing hides a second effect."""
    tally.add(work, [event.position for event in events])


TALLY = {"tally": Subscriber(types=(STOCK_CHANGED,), apply=tallying, attempts=5, first_wait_s=0.05)}


@pytest.fixture
def tallied(store: Store) -> Store:
    with store.transaction() as work:
        tally.make(work)
    return store


def work_until_idle(dsn: str, subscribers: dict[str, Subscriber] = TALLY, seconds: float = 3) -> None:
    deliver(
        lambda: Store(dsn),
        PartitionAssignment(partitions=1),
        lifetime=timedelta(seconds=seconds),
        subscribers=subscribers,
        polling=PollingConfig(batch=10, lease_life=timedelta(seconds=0.4)),
    )


def counted(store: Store) -> tuple[int, int]:
    with store.transaction() as work:
        return tally.count(work)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [1, 3])
def test_a_worker_killed_at_any_boundary_loses_and_doubles_nothing(
    tallied: Store, hub_dsn: str, point: str, nth: int
) -> None:
    publish(tallied, *(stock(f"S{n % 7}", 1 + n, n) for n in range(60)))

    killed = children.run(lambda: work_until_idle(hub_dsn, seconds=120), crash_at=f"{point}:{nth}")
    assert killed == children.KILLED
    with delivery(hub_dsn, TALLY):
        eventually(lambda: counted(tallied), (60, 60))


def test_a_worker_killed_while_it_looks_carefully_loses_and_doubles_nothing(tallied: Store, hub_dsn: str) -> None:
    """The second worker dies during the recovery from the first death."""
    publish(tallied, *(stock(f"S{n % 7}", 1 + n, n) for n in range(60)))

    assert children.run(lambda: work_until_idle(hub_dsn), crash_at="deliver.before_commit:1") == children.KILLED
    time.sleep(0.5)
    assert children.run(lambda: work_until_idle(hub_dsn, seconds=120), crash_at="deliver.recorded:4") == children.KILLED
    with delivery(hub_dsn, TALLY):
        eventually(lambda: counted(tallied), (60, 60))
    assert query(tallied, "SELECT count(*) FROM dead_letter") == [(0,)]


def test_a_worker_that_ends_releases_its_partitions(tallied: Store, hub_dsn: str) -> None:
    """Airflow ends a task by an error in its main thread; the others then learn of it, and the process is gone at once."""
    # Longer than a child may live: one that worked on until its time was over would be killed, not end with an error.
    pid = children.start(lambda: work_until_idle(hub_dsn, seconds=3_000))
    held = "SELECT count(*) FROM event_consumer WHERE holder IS NOT NULL"
    eventually(lambda: query(tallied, held), [(1,)])
    os.kill(pid, signal.SIGINT)

    assert children.ended(pid) == 1
    assert query(tallied, held) == [(0,)]


class TallyOutside:
    """An external effect that counts its events on a connection of its own, as another system would."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def subscribers(self) -> dict[str, Subscriber]:
        return {"tally": Subscriber(types=(STOCK_CHANGED,), deliver=self._deliver, attempts=5, first_wait_s=0.05)}

    def _deliver(self, events: Sequence[Event]) -> None:
        with Store(self._dsn) as own, own.transaction() as work:
            tallying(work, events)


@pytest.mark.parametrize("point", [*POINTS, "deliver.delivered"])
@pytest.mark.parametrize("nth", [1, pytest.param(3, marks=pytest.mark.deep)])
def test_an_external_effect_is_not_lost_by_a_worker_killed_at_any_boundary(
    tallied: Store, hub_dsn: str, point: str, nth: int
) -> None:
    """It may come twice for the batch that was under way, and for no other; each is noted as had once."""
    external = TallyOutside(hub_dsn)
    publish(tallied, *(stock(f"S{n % 7}", 1 + n, n) for n in range(60)))

    killed = children.run(
        lambda: work_until_idle(hub_dsn, external.subscribers(), seconds=120),
        crash_at=f"{point}:{nth}",
    )
    assert killed == children.KILLED
    with delivery(hub_dsn, external.subscribers()):
        eventually(lambda: query(tallied, "SELECT count(*) FROM event_inbox"), [(60,)])

    effects, had_one = counted(tallied)
    assert had_one == 60
    assert effects <= 70
    assert query(tallied, "SELECT count(*) FROM dead_letter") == [(0,)]


def test_a_handler_that_kills_its_worker_each_time_ends_as_a_dead_letter(tallied: Store, hub_dsn: str) -> None:
    """Without a count that is committed before the call, it would kill one worker after the other for ever."""

    def deadly(work: Work, events: Sequence[Event]) -> None:
        if any(json.loads(event.data)["sku"] == "DEADLY" for event in events):
            os.kill(os.getpid(), signal.SIGKILL)
        tallying(work, events)

    subscribers = {"tally": Subscriber(types=(STOCK_CHANGED,), apply=deadly, attempts=3, first_wait_s=0.05)}
    publish(tallied, *(stock(f"S{n}", 1, n) for n in range(5)), stock("DEADLY", 1, 1), stock("LAST", 1, 1))
    deaths = 0
    while query(tallied, "SELECT count(*) FROM dead_letter WHERE state = 'dead'") == [(0,)]:
        deaths += children.run(lambda: work_until_idle(hub_dsn, subscribers, seconds=2.5)) == children.KILLED
        assert deaths < 8
        time.sleep(0.45)
    with delivery(hub_dsn, TALLY):
        eventually(lambda: counted(tallied), (6, 6))

    assert query(tallied, "SELECT cause, data->>'sku' FROM dead_letter") == [("WorkerEnded", "DEADLY")]
    assert deaths <= 5


def write_beside_others(dsn: str, writer: int, events: int) -> None:
    with Store(dsn) as own:
        for number in range(events):
            with own.transaction() as work:
                work.execute(b"SELECT pg_sleep(random() * 0.003)")
                publish_in(work, writer, number)
                work.execute(b"SELECT pg_sleep(random() * 0.003)")


def publish_in(work: Work, writer: int, number: int) -> None:
    from crossdock.events import store as event_store  # noqa: PLC0415  beside the writers alone

    event_store.append(work, [stock(f"W{writer}", number + 1, number)])


def test_eight_writers_and_one_transaction_held_open(tallied: Store, hub_dsn: str) -> None:
    """What commits late has a lower number than what was read; and the order of each key still holds."""
    order: list[tuple[str, int]] = []

    def apply(work: Work, events: Sequence[Event]) -> None:
        order.extend((event.partition_key, json.loads(event.data)["version"]) for event in events)
        tallying(work, events)

    subscribers = {"tally": Subscriber(types=(STOCK_CHANGED,), apply=apply)}
    with psycopg.connect(hub_dsn, options="-c search_path=hub") as slow, delivery(hub_dsn, subscribers):
        writers = [threading.Thread(target=write_beside_others, args=(hub_dsn, n, 100)) for n in range(8)]
        for writer in writers:
            writer.start()
        slow.execute(
            "INSERT INTO event (source, type, subject, time, partition_key, data) VALUES"
            " ('/s', 'crossdock.stock.changed', 'inventory/late', now(), 'late', '{\"version\": 1}')"
        )
        time.sleep(0.5)
        slow.commit()
        for writer in writers:
            writer.join()
        eventually(lambda: counted(tallied), (801, 801))

    for n in range(8):
        assert [version for key, version in order if key == f"W{n}"] == list(range(1, 101))


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    server = PostgresServer(tmp_path / "server", free_port(), "test", options=HUB_OPTIONS)
    server.initialise()
    server.start()
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE hub")
    migrate(server.dsn("hub"))
    yield server
    server.stop("immediate")
    server.remove()


def test_a_server_stopped_at_once_under_load_loses_and_doubles_nothing(own_server: PostgresServer) -> None:
    """As a power cut would: what was acknowledged is there, and the consumers continue without help."""
    dsn = own_server.dsn("hub")
    with Store(dsn) as first, first.transaction() as work:
        tally.make(work)
    acknowledged = 0
    ends = threading.Event()

    def write() -> None:
        nonlocal acknowledged
        with Store(dsn) as own:
            while not ends.is_set():
                try:
                    publish(own, *(stock(f"S{n}", acknowledged + 1, n) for n in range(20)))
                    acknowledged += 20
                except HubError:
                    time.sleep(0.05)

    with delivery(dsn, TALLY):
        writer = threading.Thread(target=write)
        writer.start()
        for _ in range(2):
            time.sleep(1)
            own_server.stop("immediate")
            own_server.start()
        time.sleep(1)
        ends.set()
        writer.join()
        with Store(dsn) as after:
            # A commit whose answer the crash swallowed may be there too; it is delivered like any other.
            (stored,) = query(after, "SELECT count(*) FROM event")[0]
            eventually(lambda: counted(after), (stored, stored))
    assert stored >= acknowledged > 0


def test_a_worker_that_slept_through_its_lease_commits_nothing(tallied: Store, hub_dsn: str) -> None:
    """Its effects would come beside those of the one that took over."""
    publish(tallied, *(stock(f"S{n}", 1, n) for n in range(10)))
    asleep, wake = threading.Event(), threading.Event()

    def sleepy(work: Work, events: Sequence[Event]) -> None:
        tallying(work, events)
        if not asleep.is_set():
            asleep.set()
            wake.wait(600)

    subscribers = {"tally": Subscriber(types=(STOCK_CHANGED,), apply=sleepy)}
    with delivery(hub_dsn, subscribers, assignment=PartitionAssignment(partitions=1), polling=QUICK):
        asleep.wait(120)
        with delivery(hub_dsn, TALLY, assignment=PartitionAssignment(1, workers=2, partitions=1), polling=QUICK):
            eventually(lambda: query(tallied, "SELECT token > 1 FROM event_consumer"), [(True,)])
            wake.set()
            eventually(lambda: counted(tallied), (10, 10))
            time.sleep(0.3)
    assert counted(tallied) == (10, 10)
