"""The doorbell: which consumers look for events, and when. What they find does not depend on it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from crossdock.db.database import Store, Work
from crossdock.events import store as event_store
from crossdock.events.delivery import doorbell as doorbells
from crossdock.events.delivery.doorbell import Bell, Doorbell
from crossdock.events.model import PRODUCT_CHANGED, STOCK_CHANGED, Event
from crossdock.events.subscriber import Subscriber
from tests.events.worlds import delivery, eventually, publish, stock
from tests.shop import query

PARTITIONS = 2


@pytest.fixture
def doorbell(store: Store) -> Doorbell:
    """A doorbell that has looked once: it knows where the events end."""
    doorbell = Doorbell(store, PARTITIONS, lambda: False)
    doorbell.look()
    return doorbell


def partition_of(store: Store, key: str) -> int:
    [(partition,)] = query(store, "SELECT (hashtext(%s) & 2147483647) %% 2", key)
    return int(partition)


def rings(bell: Bell) -> list[int]:
    return [bell.rings(partition) for partition in range(PARTITIONS)]


def test_it_rings_for_the_type_and_the_partition_of_a_new_event(store: Store, doorbell: Doorbell) -> None:
    of_stock, of_products = doorbell.bell([STOCK_CHANGED]), doorbell.bell([PRODUCT_CHANGED])
    publish(store, stock("CHAIR", 1, 5))

    assert doorbell.look()

    assert rings(of_products) == [0, 0]
    assert rings(of_stock) == [int(partition_of(store, "CHAIR") == partition) for partition in range(PARTITIONS)]


def test_it_rings_once_for_an_event(store: Store, doorbell: Doorbell) -> None:
    bell = doorbell.bell([STOCK_CHANGED])
    publish(store, stock("CHAIR", 1, 5))
    doorbell.look()
    rung = rings(bell)

    assert not doorbell.look()
    assert rings(bell) == rung


def test_it_rings_for_an_event_of_a_transaction_that_ends_late(store: Store, doorbell: Doorbell) -> None:
    """Until then, the event is above the horizon: whoever looked would not find it, nor be rung for a second time."""
    bell = doorbell.bell([STOCK_CHANGED])
    with store.transaction() as work:
        event_store.append(work, [stock("LATE", 1, 1)])
        with store.another() as other:
            publish(other, stock("EARLY", 1, 1))
        doorbell.look()
        assert rings(bell) == [0, 0]

    doorbell.look()
    assert sum(rings(bell)) >= 1
    assert bell.rings(partition_of(store, "LATE"))


def test_with_many_new_events_every_bell_rings(
    store: Store, doorbell: Doorbell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tells the first ones apart, and must not pass over the others."""
    monkeypatch.setattr(doorbells, "_AT_MOST", 3)
    bell = doorbell.bell([PRODUCT_CHANGED])
    publish(store, *(stock(f"S{number}", 1, 1) for number in range(5)))

    doorbell.look()

    assert rings(bell) == [1, 1]


def test_after_an_error_every_bell_rings(doorbell: Doorbell) -> None:
    """What was published meanwhile may be before the place from which it looks again."""
    bell = doorbell.bell([STOCK_CHANGED])
    doorbell.reset()
    doorbell.look()
    assert rings(bell) == [1, 1]


def test_events_arrive_without_a_ring(store: Store, hub_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A doorbell that is broken delays events by a second, and loses none."""
    monkeypatch.setattr(Doorbell, "look", lambda _: False)
    seen: list[str] = []
    subscriber = Subscriber(
        types=(STOCK_CHANGED,), apply=lambda _, events: seen.extend(e.partition_key for e in events)
    )

    with delivery(hub_dsn, {"diary": subscriber}):
        for number in range(3):
            publish(store, stock(f"S{number}", 1, 1))
            eventually(lambda number=number: f"S{number}" in seen)


def test_a_consumer_without_news_does_not_read(store: Store, hub_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve consumers that each look twenty times a second would be the load of an idle hub."""
    reads: list[Sequence[str]] = []
    read = event_store.read

    def counted(work: Work, *args: object, types: Sequence[str], **kwargs: object) -> tuple[list[Event], object]:
        reads.append(types)
        return read(work, *args, types=types, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(event_store, "read", counted)
    seen: list[str] = []
    idle = Subscriber(types=(PRODUCT_CHANGED,), apply=lambda _, __: None)
    busy = Subscriber(types=(STOCK_CHANGED,), apply=lambda _, events: seen.extend(e.partition_key for e in events))

    with delivery(hub_dsn, {"idle": idle, "busy": busy}):
        for number in range(40):
            publish(store, stock(f"S{number}", 1, 1))
            eventually(lambda number=number: f"S{number}" in seen)

    of_idle = sum(types == (PRODUCT_CHANGED,) for types in reads)
    assert of_idle < len(reads) - of_idle
