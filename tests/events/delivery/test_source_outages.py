"""A source outage is known to all consumers of a subscriber, and probed by one at a time."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.dead_letters.repository import Failure
from crossdock.events.delivery import consumer_leases, retry_repository, source_outages
from crossdock.events.delivery.consumer_leases import Claim
from crossdock.events.delivery.retry_repository import RetryRecord
from crossdock.events.model import ORIGIN
from crossdock.events.store import Selection
from tests.events.worlds import SOURCE, publish, stock
from tests.shop import query

DOWN = Failure(cause="SystemUnavailable", reason="HTTP 503")
NOW, LONG = timedelta(0), timedelta(minutes=60)


@pytest.fixture
def claims(store: Store) -> list[Claim]:
    """Two partitions of one subscriber; the first has an event that waits."""
    publish(store, stock("A", 1, 1))
    with store.transaction() as work:
        consumer_leases.register(work, "external", 2)
        found = [consumer_leases.claim(work, "external", number, "me", LONG) for number in range(2)]
        claims = [claim for claim in found if claim]
        (event,) = event_store.select(work, Selection(after=ORIGIN), limit=10)
        retry_repository.upsert(work, claims[0], [RetryRecord(event=event, state="retrying", failure=DOWN)])
    return claims


def probe(store: Store, claim: Claim, life: timedelta = LONG) -> source_outages.Probe | None:
    with store.transaction() as work:
        return source_outages.claim_probe(work, claim, life)


def test_one_consumer_at_a_time_probes_and_when_it_dies_another(store: Store, claims: list[Claim]) -> None:
    with store.transaction() as work:
        assert source_outages.begin(work, "external", SOURCE, DOWN, NOW)

    assert probe(store, claims[0]) == (SOURCE, 1)
    assert probe(store, claims[0]) is None
    query(store, "UPDATE source_outage SET next_probe_at = clock_timestamp() RETURNING 1")
    assert probe(store, claims[0]) == (SOURCE, 2)


def test_a_partition_without_an_event_of_the_source_does_not_probe(store: Store, claims: list[Claim]) -> None:
    """It would claim the probe, and have no event for it."""
    with store.transaction() as work:
        source_outages.begin(work, "external", SOURCE, DOWN, NOW)

    assert probe(store, claims[1]) is None
    assert probe(store, claims[0]) is not None


def test_a_later_failure_does_not_postpone_the_first_probe(store: Store, claims: list[Claim]) -> None:
    """With many consumers, each would reschedule it."""
    with store.transaction() as work:
        source_outages.begin(work, "external", SOURCE, DOWN, NOW)
        assert not source_outages.begin(work, "external", SOURCE, DOWN, LONG)

    assert probe(store, claims[0]) is not None


def test_events_that_wait_for_an_outage_are_due_when_it_is_over(store: Store, claims: list[Claim]) -> None:
    with store.transaction() as work:
        source_outages.begin(work, "external", SOURCE, DOWN, LONG)
        assert retry_repository.heads_of_line(work, claims[0]) == []
        assert source_outages.paused(work, "external") == {SOURCE: DOWN}
        assert source_outages.paused(work, "another") == {}
        source_outages.end(work, "external", SOURCE)
        assert [head.attempts for head in retry_repository.heads_of_line(work, claims[0])] == [0]


def test_a_partition_whose_events_wait_for_another_source_does_not_probe(store: Store, claims: list[Claim]) -> None:
    """It would claim the probe, have no event for it, and keep the consumer that has one waiting for a minute."""
    other = msgspec.structs.replace(stock("A", 2, 2), source="/integrations/other")
    publish(store, other)
    with store.transaction() as work:
        event = event_store.select(work, Selection(after=ORIGIN), limit=10)[1]
        retry_repository.upsert(work, claims[0], [RetryRecord(event=event, state="waiting")])
        source_outages.begin(work, "external", other.source, DOWN, NOW)

    assert probe(store, claims[0]) is None
