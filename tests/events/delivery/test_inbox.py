"""The inbox knows each event of a subscriber once, and forgets only what nobody will read again."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.delivery import consumer_leases, inbox
from crossdock.events.model import Event
from crossdock.events.store import Selection
from tests.events.worlds import publish, stock
from tests.shop import query

LIFE = timedelta(minutes=1)


@pytest.fixture
def events(store: Store) -> list[Event]:
    publish(store, *(stock("A", version, 1) for version in range(1, 7)))
    with store.transaction() as work:
        return event_store.select(work, Selection(), limit=10)


def test_an_event_is_new_once_for_each_subscriber(store: Store, events: list[Event]) -> None:
    with store.transaction() as work:
        assert inbox.add(work, "mail", events[:3]) == events[:3]
        assert inbox.add(work, "mail", events) == events[3:]
        assert inbox.add(work, "search", events[:1]) == events[:1]
        assert inbox.add(work, "mail", []) == []


def test_what_was_not_recorded_is_unseen_whichever_transaction_wrote_it(store: Store, events: list[Event]) -> None:
    """All of these events are of one transaction."""
    with store.transaction() as work:
        inbox.add(work, "mail", events[:3])
        assert inbox.unseen(work, "mail", events) == events[3:]
        assert inbox.unseen(work, "search", events) == events


def test_after_a_restore_an_event_with_the_old_numbers_is_another_event(store: Store, events: list[Event]) -> None:
    """The restored server counts transactions and positions again from where its dump was."""
    again = msgspec.structs.replace(events[0], epoch=2)
    with store.transaction() as work:
        inbox.add(work, "mail", events)
        assert inbox.unseen(work, "mail", [again]) == [again]


def test_only_what_is_behind_all_cursors_and_not_among_the_newest_is_forgotten(
    store: Store, events: list[Event]
) -> None:
    """The oldest first: a trim that is cut short leaves no gap. A row at the slowest cursor was read by all, too."""
    with store.transaction() as work:
        consumer_leases.register(work, "mail", 2)
        for partition, at in ((0, events[-1].at), (1, events[3].at)):
            claim = consumer_leases.claim(work, "mail", partition, "worker", LIFE)
            assert claim is not None
            consumer_leases.advance(work, claim, at, delivered=0, life=LIFE)
        inbox.add(work, "mail", events)
        inbox.add(work, "no-consumer", events)

        assert inbox.trim(work, "mail", newest=3, limit=1) == 1
        assert inbox.unseen(work, "mail", events) == events[:1]
        assert inbox.trim(work, "mail", newest=3, limit=100) == 2
        assert inbox.unseen(work, "mail", events) == events[:3]
        assert inbox.trim(work, "mail", newest=0, limit=100) == 1
        assert inbox.unseen(work, "mail", events) == events[:4]
        assert inbox.trim(work, "no-consumer", newest=0, limit=100) == 0
    assert query(store, "SELECT count(*) FROM event_inbox WHERE subscriber = 'no-consumer'") == [(6,)]
