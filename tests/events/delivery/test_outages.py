"""A system that cannot be reached is the failure of the system, not of an event: no storm, no attempts used up, no dead letters."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from crossdock.core.errors import BadEvent, CircuitOpen, LeaseHeld, OutcomeUnknown, SystemUnavailable
from crossdock.db.database import Store, StoreUnavailable
from crossdock.events.delivery import PartitionAssignment, source_outages
from crossdock.events.model import Event, NewEvent
from tests.events.worlds import SOURCE, ExternalSystem, delivery, eventually, publish, stock
from tests.shop import query

OTHER_SOURCE = "/integrations/other"


def dead_letters(store: Store) -> list[tuple[Any, ...]]:
    return query(store, "SELECT state, attempts, count(*) FROM dead_letter GROUP BY 1, 2 ORDER BY 1, 2")


def of(source: str, event: NewEvent) -> NewEvent:
    return msgspec.structs.replace(event, source=source)


def down(events: Sequence[Event]) -> Exception | None:
    """The shop does not answer; the other system does."""
    return SystemUnavailable("shop", "HTTP 503") if any(event.source == SOURCE for event in events) else None


def test_an_outage_costs_a_few_calls_and_no_dead_letter(store: Store, hub_dsn: str) -> None:
    """
    64 webhooks of a shop that is down: one call finds out, one probe at a time checks whether it is over, and then all
    are delivered. Bisected down to single calls they were 127 for each attempt, and dead letters after a minute.
    """
    external = ExternalSystem()
    external.refuses = down
    publish(store, *(stock(f"S{n % 32}", 1 + n // 32, n) for n in range(64)))

    with delivery(hub_dsn, external.subscribers(attempts=2)):
        eventually(lambda: query(store, "SELECT count(*) FROM dead_letter"), [(64,)])
        time.sleep(3)
        publish(store, *(of(OTHER_SOURCE, stock(f"E{n}", 1, n)) for n in range(10)))
        eventually(lambda: len(external.delivered), 10)
        assert len(external.calls) - 2 <= 12, external.calls
        assert external.most_at_once == 1
        eventually(lambda: dead_letters(store), [("retrying", 0, 32), ("waiting", 0, 32)])
        with store.transaction() as work:
            (outage,) = source_outages.list_all(work)["external"]
        assert (outage.source, outage.cause) == (SOURCE, "SystemUnavailable")
        external.refuses, during = (lambda _: None), len(external.calls)
        eventually(lambda: len(external.delivered), 74)

    for n in range(32):
        assert [version for key, version in external.delivered if key == f"S{n}"] == [1, 2]
    assert len(external.calls) - during <= 8, "one that got through lets the others in together"
    assert dead_letters(store) == [("recovered", 1, 32)]
    assert query(store, "SELECT count(*) FROM source_outage") == [(0,)]


def test_events_during_an_outage_wait_without_a_call_and_in_order(store: Store, hub_dsn: str) -> None:
    external = ExternalSystem()
    external.refuses = down
    with delivery(hub_dsn, external.subscribers(first_wait_s=1.0), assignment=PartitionAssignment(partitions=1)):
        for version in range(1, 21):
            publish(store, *(stock(sku, version, version) for sku in "ABC"))
            time.sleep(0.05)
        eventually(lambda: query(store, "SELECT count(*) FROM dead_letter"), [(60,)])
        assert len(external.calls) <= 4
        external.refuses = lambda _: None
        eventually(lambda: len(external.delivered), 60)

    for sku in "ABC":
        assert [version for key, version in external.delivered if key == sku] == list(range(1, 21))


def test_an_open_breaker_is_an_outage_too(store: Store, hub_dsn: str) -> None:
    external = ExternalSystem()
    external.refuses = lambda events: CircuitOpen("shop", "it has been failing") if events else None
    publish(store, *(stock(f"S{n}", 1, n) for n in range(8)))

    with delivery(hub_dsn, external.subscribers(attempts=2), assignment=PartitionAssignment(partitions=1)):
        eventually(lambda: dead_letters(store), [("retrying", 0, 8)])
        time.sleep(2)
        eventually(lambda: dead_letters(store), [("retrying", 0, 8)])
        assert len(external.calls) <= 8


def test_an_event_that_cannot_be_processed_is_found_after_the_outage(store: Store, hub_dsn: str) -> None:
    """It may be the very event of the probe: the system has answered, so the outage is over."""
    external = ExternalSystem()
    external.refuses = down
    publish(store, *(stock(f"S{n}", 1, n) for n in range(8)))

    def poisoned(events: Sequence[Event]) -> Exception | None:
        bad = [event for event in events if event.partition_key == "S0"]
        return BadEvent("S0", "stock", "nobody can read it") if bad else None

    with delivery(hub_dsn, external.subscribers(attempts=2), assignment=PartitionAssignment(partitions=1)):
        eventually(lambda: dead_letters(store), [("retrying", 0, 8)])
        external.refuses = poisoned
        eventually(lambda: dead_letters(store), [("dead", 1, 1), ("recovered", 1, 7)])

    assert sorted(external.delivered) == [(f"S{n}", 1) for n in range(1, 8)]


def test_one_record_that_looks_like_an_outage_is_found_and_its_source_continues(store: Store, hub_dsn: str) -> None:
    """It fails while others of its source succeed: that is its own failure, and counts. Each probe takes another event."""
    external = ExternalSystem()
    external.refuses = lambda events: (
        SystemUnavailable("shop", "HTTP 500") if any(event.partition_key == "S0" for event in events) else None
    )
    publish(store, *(stock(f"S{n}", 1, n) for n in range(8)))

    with delivery(hub_dsn, external.subscribers(attempts=3), assignment=PartitionAssignment(partitions=1)):
        eventually(lambda: len(external.delivered), 7)
        for number in range(8):
            publish(store, stock(f"NEW{number}", 1, number))
            time.sleep(0.2)
        eventually(lambda: dead_letters(store)[0], ("dead", 3, 1))
        eventually(lambda: len(external.delivered), 15)

    assert sorted(external.delivered) == sorted(
        [*((f"S{n}", 1) for n in range(1, 8)), *((f"NEW{n}", 1) for n in range(8))]
    )


def test_an_outage_that_pauses_for_a_moment_blames_no_event(store: Store, hub_dsn: str) -> None:
    """One call succeeds and the next ones do not: the event of the next probe was not the only one to fail."""
    external = ExternalSystem()
    gets_through = {4, 9, 13}
    external.refuses = lambda events: None if len(external.calls) in gets_through else down(events)
    publish(store, *(stock(f"S{n}", 1, n) for n in range(40)))

    with delivery(hub_dsn, external.subscribers(attempts=1), assignment=PartitionAssignment(partitions=1)):
        eventually(lambda: len(external.calls) > 16)
        external.refuses = lambda _: None
        eventually(lambda: len(external.delivered), 40)

    assert {state for state, _, _ in dead_letters(store)} == {"recovered"}


def test_a_record_that_another_fetch_has_waits_alone_and_costs_no_attempt(store: Store, hub_dsn: str) -> None:
    """A held lease says nothing about the system: its other events are delivered."""
    external = ExternalSystem()
    external.refuses = lambda events: (
        LeaseHeld("inventory", "another", 60) if any(event.partition_key == "HELD" for event in events) else None
    )
    with delivery(hub_dsn, external.subscribers(attempts=2), assignment=PartitionAssignment(partitions=1)):
        publish(store, stock("HELD", 1, 1))
        eventually(lambda: dead_letters(store), [("retrying", 0, 1)])
        publish(store, *(stock(f"S{n}", 1, n) for n in range(8)))
        eventually(lambda: len(external.delivered), 8)
        time.sleep(0.5)
        # During an attempt it counts as one; afterwards it is taken back.
        eventually(lambda: dead_letters(store), [("retrying", 0, 1)])
        external.refuses = lambda _: None
        eventually(lambda: dead_letters(store), [("recovered", 1, 1)])


def versions(delivered: Sequence[tuple[str, int]], key: str) -> list[int]:
    return [version for known, version in delivered if known == key]


def test_events_of_one_key_from_two_sources_keep_their_order(store: Store, hub_dsn: str) -> None:
    """Each source has calls of its own, so that an outage of one does not fail the other's events; order per key holds."""
    external = ExternalSystem()
    publish(
        store,
        stock("A", 1, 1),
        of(OTHER_SOURCE, stock("B", 1, 1)),
        of(OTHER_SOURCE, stock("A", 2, 2)),
        stock("B", 2, 2),
        stock("A", 3, 3),
    )
    with delivery(hub_dsn, external.subscribers(), assignment=PartitionAssignment(partitions=1)):
        eventually(lambda: len(external.delivered), 5)

    assert (versions(external.delivered, "A"), versions(external.delivered, "B")) == ([1, 2, 3], [1, 2])
    assert json.dumps(external.calls) == json.dumps([[["A", 1]], [["B", 1]], [["A", 2]], [["B", 2]], [["A", 3]]])


def test_events_that_failed_on_their_own_before_do_not_each_call_a_paused_source(store: Store, hub_dsn: str) -> None:
    """Each has its own backoff, and twenty of them would be twenty calls."""
    external = ExternalSystem()
    external.refuses = lambda _: ValueError("not yet")
    publish(store, *(stock(f"S{n}", 1, n) for n in range(20)))

    with delivery(
        hub_dsn,
        external.subscribers(attempts=9, first_wait_s=2.0),
        assignment=PartitionAssignment(partitions=1),
    ):
        eventually(lambda: dead_letters(store), [("retrying", 1, 20)])
        external.refuses, before = down, len(external.calls)
        time.sleep(4)
        assert len(external.calls) - before <= 5
        external.refuses = lambda _: None
        eventually(lambda: len(external.delivered), 20)

    assert {state for state, _, _ in dead_letters(store)} == {"recovered"}


def test_events_that_come_in_a_moment_after_its_beginning_know_of_the_outage(store: Store, hub_dsn: str) -> None:
    """At once, not only at the next search for failed deliveries, which runs every 0.2 s once there are any."""
    external = ExternalSystem()
    external.refuses = lambda events: (
        ValueError("by itself") if any(event.partition_key == "X" for event in events) else down(events)
    )
    publish(store, stock("X", 1, 1))
    with delivery(hub_dsn, external.subscribers(first_wait_s=30.0), assignment=PartitionAssignment(partitions=1)):
        eventually(lambda: dead_letters(store), [("retrying", 1, 1)])
        for version in range(1, 31):
            publish(store, stock(f"S{version}", version, version))
            time.sleep(0.015)
        eventually(lambda: dead_letters(store), [("retrying", 0, 30), ("retrying", 1, 1)])

    assert len(external.calls) == 2


def test_records_of_one_call_with_one_in_use_do_not_wait_for_it(store: Store, hub_dsn: str) -> None:
    """It is unknown which of them it was; so each is tried alone."""
    external = ExternalSystem()
    external.refuses = lambda events: (
        LeaseHeld("inventory", "another", 60) if any(event.partition_key == "HELD" for event in events) else None
    )
    publish(store, stock("HELD", 1, 1), *(stock(f"S{n}", 1, n) for n in range(8)))
    with delivery(hub_dsn, external.subscribers(attempts=2), assignment=PartitionAssignment(partitions=1)):
        eventually(lambda: sorted(external.delivered), [(f"S{n}", 1) for n in range(8)])
        eventually(lambda: dead_letters(store), [("recovered", 1, 8), ("retrying", 0, 1)])


def test_a_record_that_another_transaction_has_waits_alone_too(store: Store, hub_dsn: str) -> None:
    """The hub's database failed during a fetch, not during the delivery, which continues with the other events."""
    external = ExternalSystem()
    external.refuses = lambda events: (
        StoreUnavailable("a lock was not had in time")
        if any(event.partition_key == "HELD" for event in events)
        else None
    )
    with delivery(hub_dsn, external.subscribers(attempts=2), assignment=PartitionAssignment(partitions=1)):
        publish(store, stock("HELD", 1, 1))
        eventually(lambda: dead_letters(store), [("retrying", 0, 1)])
        publish(store, *(stock(f"S{n}", 1, n) for n in range(8)))
        eventually(lambda: len(external.delivered), 8)


def test_an_unknown_outcome_waits_for_a_person_and_is_not_repeated(store: Store, hub_dsn: str) -> None:
    """Not retried, and not bisected either: each half would be the effect once more."""
    external = ExternalSystem()
    external.refuses = lambda _: OutcomeUnknown("shop", "POST /orders", "no answer")
    publish(store, *(stock(f"S{n}", 1, n) for n in range(4)))

    with delivery(hub_dsn, external.subscribers(), assignment=PartitionAssignment(partitions=1)):
        eventually(lambda: dead_letters(store), [("dead", 1, 4)])

    assert sum(len(call) for call in external.calls) == 4
    assert {cause for (cause,) in query(store, "SELECT cause FROM dead_letter")} == {"OutcomeUnknown"}
