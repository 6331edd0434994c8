"""./hub events status: what waits for whom."""

from __future__ import annotations

from datetime import timedelta

from crossdock.db.database import Store
from crossdock.events.status import SubscriberStatus, delivery_status
from tests.events.worlds import SUBSCRIBERS, delivery, eventually, publish, stock


def of_availability(store: Store) -> SubscriberStatus:
    (found,) = (
        each
        for each in delivery_status(store, SUBSCRIBERS, timedelta(days=1)).subscribers
        if each.subscriber == "availability"
    )
    return found


def test_for_a_subscriber_that_was_never_started_everything_waits(store: Store, hub_dsn: str) -> None:
    """`0 waiting` would look healthy on the very day that no consumer reads."""
    publish(store, stock("A", 1, 5), stock("B", 1, 5), stock("C", 1, 5))

    before = of_availability(store)
    with delivery(hub_dsn):
        eventually(lambda: of_availability(store).waiting, 0)
        during = of_availability(store)

    assert (before.waiting, before.consumed, before.read_by) == (3, 0, "never started")
    assert (during.consumed, during.read_by) == (2, "2 of 2")
