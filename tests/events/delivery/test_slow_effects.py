"""External side effects that take longer than a lease lives: one effect, a takeover when they hang, no open transaction."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import psycopg

from crossdock.db.database import Store
from crossdock.events.delivery import PartitionAssignment, PollingConfig
from crossdock.events.model import Event
from crossdock.events.replay import service as replay_service
from crossdock.events.subscriber import Subscriber
from tests.events.worlds import ExternalSystem, delivery, eventually, publish, stock
from tests.shop import query

ALONE = PartitionAssignment(partitions=1)
#: A lease that runs out long before the effects below are over, and is long enough to be renewed on a busy machine.
SHORT = PollingConfig(batch=100, lease_life=timedelta(seconds=2))


def dead_letters(store: Store) -> list[tuple[Any, ...]]:
    return query(store, "SELECT state, attempts, cause FROM dead_letter ORDER BY position")


def takeovers(store: Store) -> int:
    """How often a partition was claimed after its first time."""
    return int(query(store, "SELECT sum(token - 1)::int FROM event_consumer")[0][0])


def test_an_effect_slower_than_the_lease_is_had_once(store: Store, hub_dsn: str) -> None:
    """A worker that waits for a slow system is alive."""
    external = ExternalSystem(takes_s=5)
    publish(store, *(stock(f"S{n}", 1, n) for n in range(5)))

    with (
        delivery(
            hub_dsn,
            external.subscribers(),
            assignment=PartitionAssignment(0, workers=2, partitions=1),
            polling=SHORT,
        ),
        delivery(
            hub_dsn,
            external.subscribers(),
            assignment=PartitionAssignment(1, workers=2, partitions=1),
            polling=SHORT,
        ),
    ):
        eventually(lambda: query(store, "SELECT count(*) FROM event_inbox"), [(5,)])

    assert [len(call) for call in external.calls] == [5]
    assert (takeovers(store), dead_letters(store)) == (0, [])


def test_a_slow_effect_of_one_partition_keeps_the_others_of_its_worker(store: Store, hub_dsn: str) -> None:
    """One thread renews all leases: while it waits for one, no other thread would renew the rest."""
    external = ExternalSystem(takes_s=4)
    publish(store, *(stock(f"S{n}", 1, n) for n in range(8)))

    with (
        delivery(
            hub_dsn,
            external.subscribers(),
            assignment=PartitionAssignment(0, workers=1, partitions=3),
            polling=SHORT,
        ),
        delivery(
            hub_dsn,
            external.subscribers(),
            assignment=PartitionAssignment(1, workers=9, partitions=3),
            polling=SHORT,
        ),
    ):
        eventually(lambda: query(store, "SELECT count(*) FROM event_inbox"), [(8,)])

    assert sorted(external.delivered) == sorted((f"S{n}", 1) for n in range(8))
    assert dead_letters(store) == []


def test_an_effect_that_hangs_past_its_bound_is_taken_over_and_its_worker_commits_nothing(
    store: Store, hub_dsn: str
) -> None:
    """A lease that was renewed for ever would keep a subscriber that hangs for ever."""
    wake = threading.Event()
    hung, sound = ExternalSystem(until=wake), ExternalSystem()
    publish(store, stock("A", 1, 1))
    hanging = hung.subscribers(effect_timeout_s=3)

    with delivery(hub_dsn, hanging, assignment=PartitionAssignment(0, workers=2, partitions=1), polling=SHORT):
        eventually(lambda: len(hung.calls), 1)
        began = time.monotonic()
        with delivery(
            hub_dsn,
            sound.subscribers(),
            assignment=PartitionAssignment(1, workers=2, partitions=1),
            polling=SHORT,
        ):
            eventually(lambda: sound.delivered, [("A", 1)])
            taken_s = time.monotonic() - began
            publish(store, stock("A", 2, 2))
            eventually(lambda: sound.delivered, [("A", 1), ("A", 2)])
            eventually(lambda: noted(store), [(2, 2)])
            wake.set()
            time.sleep(0.3)
            assert noted(store) == [(2, 2)]
            assert hung.delivered == [("A", 1)]

    assert taken_s > 2, "it was let go before its time"
    assert dead_letters(store) == []


def test_a_handler_that_hangs_for_ever_ends_as_a_dead_letter_of_a_lone_worker(store: Store, hub_dsn: str) -> None:
    """No thread can be killed. Left behind, it kept its subscriber's events from everybody until Airflow ended the worker."""
    wake = threading.Event()
    external = ExternalSystem()

    def hang(events: Sequence[Event]) -> None:
        if any(event.partition_key == "HANGS" for event in events):
            wake.wait(600)

    external.refuses = hang
    publish(store, *(stock(f"S{n}", 1, n) for n in range(3)), stock("HANGS", 1, 1), stock("LAST", 1, 1))
    try:
        with delivery(
            hub_dsn,
            external.subscribers(effect_timeout_s=1, attempts=2),
            assignment=ALONE,
            polling=SHORT,
        ):
            eventually(lambda: dead_letters(store), [("dead", 3, "WorkerEnded")])
            publish(store, stock("HANGS", 2, 2), stock("NEXT", 1, 1))
            eventually(lambda: ("NEXT", 1) in external.delivered)
    finally:
        wake.set()

    assert {key for key, _ in external.delivered} >= {"S0", "S1", "S2", "LAST", "NEXT"}


def noted(store: Store) -> list[tuple[Any, ...]]:
    """The number of delivered events, by the cursor's row and by the inbox."""
    return query(store, "SELECT delivered, (SELECT count(*) FROM event_inbox) FROM event_consumer")


def open_transactions(own: psycopg.Connection[Any]) -> list[str]:
    """What is open for longer than a statement takes, in this database."""
    rows = own.execute(
        "SELECT state || ': ' || left(query, 60) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND clock_timestamp() - xact_start > interval '0.15 seconds'"
    )
    return [row[0] for row in rows]


class Watched(ExternalSystem):
    """It fails once, so that it is called from the first attempt, a retry and a replay; and checks for open transactions."""

    def __init__(self, dsn: str) -> None:
        super().__init__(takes_s=0.4)
        self.open: list[str] = []
        self._dsn, self.fails = dsn, 0

    def _act(self, events: Sequence[Event]) -> None:
        super()._act(events)
        with psycopg.connect(self._dsn, autocommit=True) as own:
            self.open += open_transactions(own)
        if self.fails:
            self.fails -= 1
            raise ValueError("not now")


def test_no_transaction_is_open_while_an_external_effect_runs(store: Store, hub_dsn: str) -> None:
    """An open transaction delays every consumer on the server, and an idle one is ended by it."""
    external = Watched(hub_dsn)
    external.fails = 1
    publish(store, stock("A", 1, 1))
    with delivery(hub_dsn, external.subscribers(), assignment=ALONE):
        eventually(lambda: dead_letters(store), [("recovered", 2, "ValueError")])
        external.fails = 3
        publish(store, stock("B", 1, 1))
        eventually(lambda: dead_letters(store)[1:], [("dead", 3, "ValueError")])
    subscribers = external.subscribers()

    dead_letter = replay_service.request_dead_letters(store, [], everything=True, rate=None, actor="cli:ada")
    replay_service.run_replay(store, dead_letter.replay_id, subscribers=subscribers)
    assert [row[0] for row in dead_letters(store)] == ["recovered", "replayed"]
    replayed(store, subscribers)

    assert len(external.calls) >= 7
    assert external.open == []


def replayed(store: Store, subscribers: dict[str, Subscriber]) -> Any:
    request = {"selection": {}, "subscribers": list(subscribers), "cursor": [0, 0, 0]}
    requested = replay_service._request(store, "events", request, rate=None, total=2, actor="cli:ada")
    return replay_service.run_replay(store, requested.replay_id, subscribers=subscribers)
