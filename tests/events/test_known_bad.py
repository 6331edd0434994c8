"""
A delivery that is known to be wrong must be found wrong: each test takes one safeguard out and sees it reported.

Without these, a check that looks away would pass every test of the delivery.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from crossdock.core.failpoints import failpoint
from crossdock.db.database import Store, Work
from crossdock.events import store as event_store
from crossdock.events.delivery import consumer_leases, inbox
from crossdock.events.delivery.partition import Partition
from crossdock.events.model import STOCK_CHANGED, Event, NewEvent
from crossdock.events.subscriber import Subscriber
from tests.chaos import children
from tests.events import tally, test_store
from tests.events.test_chaos import TALLY, work_until_idle
from tests.events.worlds import delivery, eventually, publish, stock
from tests.shop import query

pytestmark = pytest.mark.crash


def broken(store: Store) -> list[str]:
    """Every promise of the delivery that does not hold of what was published; all readers are idle by now."""
    with store.transaction() as work:
        effects, had_one = tally.count(work)
    published = query(store, "SELECT count(*) FROM event WHERE NOT silent")[0][0]
    found = []
    if had_one < published:
        found.append(f"lost: {published - had_one} of {published} events had no effect")
    if effects > had_one:
        found.append(f"doubled: {effects - had_one} events had a second effect")
    return found


@pytest.fixture
def tallied(store: Store) -> Store:
    with store.transaction() as work:
        tally.make(work)
    return store


def deliver_until(store: Store, dsn: str, expected: list[str]) -> None:
    """Deliver until the broken promises are exactly *expected*."""
    with delivery(dsn, TALLY):
        eventually(lambda: broken(store), expected)


def late_commit(store: Store, dsn: str, expected: list[str]) -> None:
    """
    Let one transaction take its numbers first and commit last, while a reader is at work; *expected* as for `deliver_until`.

    A reader that does not wait for it has had all the others by then.
    """
    with psycopg.connect(dsn, options="-c search_path=hub") as slow, delivery(dsn, TALLY):
        slow.execute(
            "INSERT INTO event (source, type, subject, time, partition_key, data) VALUES"
            " ('/s', 'crossdock.stock.changed', 'inventory/late', now(), 'late', '{\"version\": 1}')"
        )
        publish(store, *(stock(f"S{n}", 1, n) for n in range(20)))
        if expected:
            eventually(lambda: query(store, "SELECT count(*) FROM event_inbox"), [(20,)])
        else:
            time.sleep(0.5)
        slow.commit()
        eventually(lambda: broken(store), expected)


def test_a_sound_delivery_breaks_no_promise(tallied: Store, hub_dsn: str) -> None:
    """The other half of the proof: what is found below is not always there."""
    late_commit(tallied, hub_dsn, [])
    children.run(lambda: work_until_idle(hub_dsn), crash_at="deliver.before_commit")
    deliver_until(tallied, hub_dsn, [])


def test_reading_by_id_greater_than_the_last_is_found(
    tallied: Store, hub_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commonest outbox there is."""
    for name in ("_READ", "_READ_WHOLE"):
        statement: bytes = getattr(event_store, name)
        hasty = statement.replace(event_store._AFTER.encode(), b"position > %(position)s::bigint")
        hasty = hasty.replace(event_store._HORIZON.encode(), b"%(now_epoch)s::int > 0")
        hasty = hasty.replace(b"event.epoch, event.xid, event.position", b"event.position")
        assert hasty != statement
        monkeypatch.setattr(event_store, name, hasty)
    real = event_store.read

    def read(work: Work, after: Any, **how: Any) -> Any:
        events, _ = real(work, after, **how)
        return events, events[-1].at if events else after

    monkeypatch.setattr(event_store, "read", read)
    late_commit(tallied, hub_dsn, ["lost: 1 of 21 events had no effect"])


def test_acknowledging_before_the_effect_is_committed_is_found(
    tallied: Store, hub_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Partition._commit

    def hasty(self: Partition, events: list[Event], cursor: Any, how: Any) -> None:
        with self._store.transaction() as work:
            consumer_leases.advance(work, self.claim, cursor, delivered=0, life=self._polling.lease_life)
        failpoint("test.acknowledged")
        real(self, events, cursor, how)

    monkeypatch.setattr(Partition, "_commit", hasty)
    publish(tallied, *(stock(f"S{n}", 1, n) for n in range(20)))
    assert children.run(lambda: work_until_idle(hub_dsn), crash_at="test.acknowledged") == children.KILLED
    monkeypatch.undo()
    deliver_until(tallied, hub_dsn, ["lost: 10 of 20 events had no effect"])


def test_an_effect_without_its_inbox_row_is_found(
    tallied: Store, hub_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cursor that moves back delivers everything a second time; only the inbox knows."""
    monkeypatch.setattr(inbox, "add", lambda _work, _name, events: list(events))
    publish(tallied, *(stock(f"S{n}", 1, n) for n in range(20)))
    deliver_until(tallied, hub_dsn, [])
    query(tallied, "UPDATE event_consumer SET xid = '0', position = 0 RETURNING 1")
    deliver_until(tallied, hub_dsn, ["doubled: 20 events had a second effect"])


def test_identifying_events_by_their_id_alone_is_found(tallied: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shops count their deliveries from 1."""
    real = event_store.receive

    def hasty(work: Work, event: NewEvent) -> Any:
        known = work.execute(b"SELECT FROM event WHERE event_id = %s", [event.event_id]).rowcount
        return None if known else real(work, event)

    monkeypatch.setattr(event_store, "receive", hasty)

    with pytest.raises(AssertionError):
        test_store.test_received_events_are_identified_by_source_and_id(tallied)


def test_a_worker_without_a_fence_is_found(tallied: Store, hub_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers that both believe that a partition is theirs, and no inbox row between them."""

    def both(work: Work, events: Sequence[Event]) -> None:
        tally.add(work, [event.position for event in events])
        time.sleep(0.05)

    subscribers = {"tally": Subscriber(types=(STOCK_CHANGED,), apply=both)}
    monkeypatch.setattr(inbox, "add", lambda _work, _name, events: list(events))
    monkeypatch.setattr(consumer_leases, "advance", lambda *_args, **_how: consumer_leases.Advanced(False, False))
    monkeypatch.setattr(
        consumer_leases,
        "_CLAIM",
        consumer_leases._CLAIM.replace(b"AND (holder IS NULL", b"AND (true OR holder IS NULL"),
    )
    publish(tallied, *(stock(f"S{n}", 1, n) for n in range(50)))
    # How many depends on how far each has come; that there are any is what the fence is for.
    doubled = re.compile(r"doubled: [1-9]\d* events had a second effect")
    with delivery(hub_dsn, subscribers), delivery(hub_dsn, subscribers):
        eventually(lambda: any(doubled.fullmatch(found) for found in broken(tallied)))
