"""A key partition of a subscriber belongs to one worker, which can be asked for it and can lose it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from crossdock.core.errors import LeaseLost
from crossdock.db.database import Store, Work
from crossdock.events.delivery import PollingConfig, consumer_leases
from crossdock.events.delivery.attempt import Recipient
from crossdock.events.delivery.consumer_leases import Claim
from crossdock.events.delivery.lease_renewal import LeaseRenewal
from crossdock.events.delivery.partition import Connections, Partition
from crossdock.events.model import STOCK_CHANGED, Position
from crossdock.events.subscriber import Subscriber
from tests.events.worlds import publish, stock
from tests.shop import query

LIFE = timedelta(minutes=1)
SOMEWHERE = Position(1, 5, 7)


@pytest.fixture
def hub(store: Store) -> Store:
    """A hub with a subscriber of two partitions."""
    with store.transaction() as work:
        consumer_leases.register(work, "diary", 2)
    return store


def claim(store: Store, worker: str, partition: int = 0) -> Claim | None:
    with store.transaction() as work:
        return consumer_leases.claim(work, "diary", partition, worker, LIFE)


def claimed(store: Store, worker: str, partition: int = 0) -> Claim:
    found = claim(store, worker, partition)
    assert found is not None
    return found


def expire(store: Store) -> None:
    query(store, "UPDATE event_consumer SET expires_at = clock_timestamp() - interval '1 second' RETURNING 1")


def test_a_partition_has_one_worker_and_the_next_claims_it_alone(hub: Store) -> None:
    claimed(hub, "one")

    assert claim(hub, "two") is None
    assert claimed(hub, "two", 1).partition == 1
    assert query(hub, "SELECT partition, holder FROM event_consumer ORDER BY 1") == [(0, "one"), (1, "two")]


def test_only_a_partition_whose_worker_vanished_is_read_carefully(hub: Store) -> None:
    """One of the next events may have killed it; after an orderly end, or by the same worker, none has."""
    assert not claimed(hub, "one").after_a_death
    assert not claimed(hub, "one").after_a_death, "it claims its own again"
    with hub.transaction() as work:
        consumer_leases.release(work, [claimed(hub, "one")])
    assert not claimed(hub, "two").after_a_death, "it was released"
    expire(hub)

    assert claimed(hub, "three").after_a_death


def test_a_worker_that_was_replaced_neither_moves_the_cursor_nor_keeps_its_lease(hub: Store) -> None:
    """It may only have been asleep: what it read, the other has read too."""
    asleep = claimed(hub, "one")
    expire(hub)
    awake = claimed(hub, "two")

    with pytest.raises(LeaseLost), hub.transaction() as work:
        consumer_leases.advance(work, asleep, SOMEWHERE, delivered=1, life=LIFE)
    with pytest.raises(LeaseLost), hub.transaction() as work:
        consumer_leases.renew(work, asleep, LIFE)
    with hub.transaction() as work:
        consumer_leases.release(work, [asleep])
        assert not consumer_leases.renew(work, awake, LIFE), "it still has it"
    with hub.transaction() as work:
        consumer_leases.advance(work, awake, SOMEWHERE, delivered=3, life=LIFE)
    assert query(hub, "SELECT holder, position, delivered FROM event_consumer ORDER BY partition LIMIT 1") == [
        ("two", 7, 3)
    ]


def test_a_borrowed_partition_is_asked_back_while_its_own_worker_is_there(hub: Store) -> None:
    """A request is repeated while it is meant: an old one is of a worker that has gone, and would empty the partition."""
    borrowed = claimed(hub, "one")

    def is_wanted() -> bool:
        with hub.transaction() as work:
            renewed = consumer_leases.renew(work, borrowed, LIFE)
            advanced = consumer_leases.advance(work, borrowed, SOMEWHERE, delivered=0, life=LIFE)
        assert bool(advanced.is_requested) == renewed
        return renewed

    assert not is_wanted()
    with hub.transaction() as work:
        consumer_leases.request(work, "diary", 0, "one")
        consumer_leases.request(work, "diary", 1, "two")
    assert not is_wanted(), "by itself, and another partition"
    with hub.transaction() as work:
        consumer_leases.request(work, "diary", 0, "two")
        assert consumer_leases.renew(work, borrowed, LIFE)
        assert consumer_leases.advance(work, borrowed, SOMEWHERE, delivered=0, life=LIFE).is_requested
    query(hub, "UPDATE event_consumer SET wanted_at = wanted_at - interval '3 seconds' RETURNING 1")
    assert not is_wanted(), "three seconds ago"


@pytest.mark.parametrize("partitions", [1, 2, 3])
def test_a_subscriber_has_as_many_partitions_as_it_was_registered_with_last(hub: Store, partitions: int) -> None:
    """One that stays behind is read by nobody, and holds the inbox and the lag where it is."""
    with hub.transaction() as work:
        consumer_leases.register(work, "diary", partitions)

    rows = query(hub, "SELECT partition, partitions FROM event_consumer ORDER BY 1")
    assert rows == [(number, partitions) for number in range(partitions)]


def test_a_subscriber_lags_by_the_events_of_its_types_behind_its_slowest_partition(hub: Store) -> None:
    publish(hub, *(stock("A", version, 1) for version in (1, 2, 3, 4)))
    positions = [
        Position(*row) for row in query(hub, "SELECT epoch, xid::text::bigint, position FROM event ORDER BY 3")
    ]
    query(hub, "UPDATE event SET silent = true WHERE position = %s RETURNING 1", positions[3].position)
    with hub.transaction() as work:
        for partition, at in ((0, positions[3]), (1, positions[0])):
            consumer_leases.advance(work, claimed_in(hub, partition), at, delivered=0, life=LIFE)
    with hub.transaction() as work:
        asked = {"diary": [STOCK_CHANGED], "never-started": ["crossdock.order.changed", STOCK_CHANGED]}
        assert {name: lag for name, (lag, _) in consumer_leases.lags(work, asked).items()} == {
            "diary": 2,
            "never-started": 3,
        }
        assert consumer_leases.lags(work, {"diary": ["crossdock.order.changed"]}) == {"diary": (0, 0.0)}


def claimed_in(store: Store, partition: int) -> Claim:
    return claimed(store, "worker", partition)


def test_an_idle_partition_is_not_written_at_each_look(hub: Store) -> None:
    """Four times in the life of a lease are enough: consumers that look for events ten times a second would be the load."""
    held = claimed(hub, "one")
    connections = Connections(hub, hub, LeaseRenewal(hub.another(), lambda _: None, LIFE, of="diary"))
    subscriber = Subscriber(types=(STOCK_CHANGED,), apply=lambda _, __: None)
    partition = Partition(connections, held, Recipient("diary", subscriber), PollingConfig(lease_life=LIFE))
    partition.step()
    written = query(hub, "SELECT xmin::text, moved_at FROM event_consumer WHERE partition = 0")
    for _ in range(5):
        partition.step()

    assert query(hub, "SELECT xmin::text, moved_at FROM event_consumer WHERE partition = 0") == written


def test_after_a_death_the_next_events_are_delivered_one_by_one_and_the_others_together_again(hub: Store) -> None:
    """One of them may have killed the worker: only that one is to be blamed, should it do so again."""
    claimed(hub, "one")
    expire(hub)
    held = claimed(hub, "two")
    calls: list[list[str]] = []
    connections = Connections(hub, hub, LeaseRenewal(hub.another(), lambda _: None, LIFE, of="diary"))
    subscriber = Subscriber(
        types=(STOCK_CHANGED,), apply=lambda _, events: calls.append([event.partition_key for event in events])
    )
    partition = Partition(connections, held, Recipient("diary", subscriber), PollingConfig(lease_life=LIFE))
    with hub.transaction() as work:
        keys = [key for key in "ABCDEFGHIJ" if in_first_partition(work, key)]
    publish(hub, *(stock(key, 1, 1) for key in keys))
    partition.step()
    publish(hub, *(stock(key, 2, 1) for key in keys))
    partition.step()

    assert calls == [*([key] for key in keys), keys]
    assert query(hub, "SELECT count(*) FROM dead_letter") == [(0,)]


def in_first_partition(work: Work, key: str) -> bool:
    row = work.execute(b"SELECT (hashtext(%(key)s) & 2147483647) %% 2", {"key": key}).fetchone()
    return bool(row and row[0] == 0)
