"""A source that is out is known to all readers of a subscriber, and asked by one at a time."""

from __future__ import annotations

import time
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

DOWN = Failure(cause="SystemUnavailable", reason="HTTP 503")
NOW, LONG, SHORT = timedelta(0), timedelta(minutes=1), timedelta(seconds=0.2)


@pytest.fixture
def claims(store: Store) -> list[Claim]:
    """Two partitions of one subscriber; the first has a letter that waits."""
    publish(store, stock("A", 1, 1))
    with store.transaction() as work:
        consumer_leases.register(work, "outside", 2)
        found = [consumer_leases.claim(work, "outside", number, "me", LONG) for number in range(2)]
        claims = [claim for claim in found if claim]
        (event,) = event_store.select(work, Selection(after=ORIGIN), limit=10)
        retry_repository.upsert(work, claims[0], [RetryRecord(event=event, state="retrying", failure=DOWN)])
    return claims


def probe(store: Store, claim: Claim, life: timedelta = LONG) -> source_outages.Probe | None:
    with store.transaction() as work:
        return source_outages.claim_probe(work, claim, life)


def test_one_reader_at_a_time_asks_and_when_it_dies_another(store: Store, claims: list[Claim]) -> None:
    with store.transaction() as work:
        assert source_outages.begin(work, "outside", SOURCE, DOWN, NOW)

    assert probe(store, claims[0], SHORT) == (SOURCE, 1)
    assert probe(store, claims[0], SHORT) is None
    time.sleep(0.3)
    assert probe(store, claims[0], SHORT) == (SOURCE, 2)


def test_who_has_no_letter_of_the_source_does_not_ask(store: Store, claims: list[Claim]) -> None:
    """It would take the right to ask, and have nothing to ask with."""
    with store.transaction() as work:
        source_outages.begin(work, "outside", SOURCE, DOWN, NOW)

    assert probe(store, claims[1]) is None
    assert probe(store, claims[0]) is not None


def test_who_finds_out_later_does_not_put_the_first_one_s_probe_off(store: Store, claims: list[Claim]) -> None:
    """With many readers, each would move it on."""
    with store.transaction() as work:
        source_outages.begin(work, "outside", SOURCE, DOWN, NOW)
        assert not source_outages.begin(work, "outside", SOURCE, DOWN, LONG)

    assert probe(store, claims[0]) is not None


def test_what_waits_for_an_outage_is_due_when_it_is_over(store: Store, claims: list[Claim]) -> None:
    with store.transaction() as work:
        source_outages.begin(work, "outside", SOURCE, DOWN, LONG)
        assert retry_repository.heads_of_line(work, claims[0]) == []
        assert source_outages.paused(work, "outside") == {SOURCE: DOWN}
        assert source_outages.paused(work, "another") == {}
        source_outages.end(work, "outside", SOURCE)
        assert [head.attempts for head in retry_repository.heads_of_line(work, claims[0])] == [0]


def test_who_has_only_letters_that_wait_behind_another_source_s_does_not_ask(store: Store, claims: list[Claim]) -> None:
    """It would take the right to ask, have nothing to ask with, and keep the one that could waiting for a minute."""
    elsewhere = msgspec.structs.replace(stock("A", 2, 2), source="/integrations/elsewhere")
    publish(store, elsewhere)
    with store.transaction() as work:
        event = event_store.select(work, Selection(after=ORIGIN), limit=10)[1]
        retry_repository.upsert(work, claims[0], [RetryRecord(event=event, state="waiting")])
        source_outages.begin(work, "outside", elsewhere.source, DOWN, NOW)

    assert probe(store, claims[0]) is None
