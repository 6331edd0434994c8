"""The housekeeping tasks run beside the delivery, and none of them stops the others."""

from __future__ import annotations

import threading

import pytest

from crossdock.db.database import Store
from crossdock.events.delivery import consumer_leases
from crossdock.events.model import STOCK_CHANGED
from crossdock.events.replay import service as replay_service
from crossdock.events.store import Selection
from crossdock.events.subscriber import Subscriber
from crossdock.maintenance import housekeeping
from crossdock.maintenance.housekeeping import HousekeepingConfig
from tests.events.worlds import SUBSCRIBERS, ExternalSystem, delivery, eventually, publish, stock
from tests.shop import query

HEARS = {"recorder": Subscriber(types=(STOCK_CHANGED,), apply=lambda _, __: None)}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "_STORE_EVERY_S", 0.3)


def test_the_delivery_worker_deletes_expired_data(store: Store, hub_dsn: str) -> None:
    query(store, "INSERT INTO event_identity VALUES ('old', '/s', now() - interval '500 days') RETURNING 1")

    with delivery(hub_dsn, HEARS):
        eventually(lambda: query(store, "SELECT count(*) FROM event_identity"), [(0,)])


def test_the_delivery_opens_alerts_and_closes_them(store: Store, hub_dsn: str) -> None:
    """Dead letters of a subscriber stay until a person closes them."""
    publish(store, stock("CHAIR", 1, 1))
    query(
        store,
        "INSERT INTO dead_letter (subscriber, epoch, xid, position, source, type, time, partition_key, partition,"
        " schema_version, data, state, cause, reason) VALUES ('recorder', 1, '1', 7, 's', 't', now(), 'k', 0, 1, '{}', 'dead',"
        " 'BadEvent', 'r') RETURNING 1",
    )
    standing = "SELECT kind, closed_at IS NULL FROM alert"

    with delivery(hub_dsn, HEARS):
        eventually(lambda: query(store, standing), [("dead_letters", True)])
        query(store, "UPDATE dead_letter SET state = 'discarded', closed_at = now() RETURNING 1")
        eventually(lambda: query(store, standing), [("dead_letters", False)])


def test_a_task_that_always_fails_stops_neither_replays_nor_other_tasks(store: Store, hub_dsn: str) -> None:
    """A table without the right to delete would otherwise end the one thread of all tasks."""
    publish(store, stock("CHAIR", 1, 1))
    with store.transaction() as work:
        work.execute(b"ALTER TABLE refused_webhook RENAME TO renamed")
    with store.transaction() as work:
        consumer_leases.register(work, "availability", 2)
    requested = replay_service.request_events(
        store, Selection(), {"availability": SUBSCRIBERS["availability"]}, rate=None, actor="cli:ada"
    )

    with delivery(hub_dsn):
        eventually(lambda: query(store, "SELECT state FROM event_replay"), [("done",)])
    assert requested.total == 1


def test_a_defect_in_one_chore_stops_neither_replays_nor_alerts(store: Store, hub_dsn: str) -> None:
    """An error of another library, such as an object store: it comes back at each start, before all other tasks."""
    publish(store, stock("CHAIR", 1, 1))
    a_dead_letter(store)
    with store.transaction() as work:
        consumer_leases.register(work, "availability", 2)
    replay_service.request_events(
        store, Selection(), {"availability": SUBSCRIBERS["availability"]}, rate=None, actor="cli:ada"
    )

    with delivery(hub_dsn, housekeeping=HousekeepingConfig(landing_url="nowhere://bucket")):
        eventually(lambda: query(store, "SELECT state FROM event_replay"), [("done",)])
        eventually(lambda: query(store, "SELECT kind FROM alert"), [("dead_letters",)])


def test_a_replay_that_hangs_stops_neither_alerts_nor_the_rest(store: Store, hub_dsn: str) -> None:
    """Its thread cannot be killed, and the next worker comes to the same dead letter."""
    wake = threading.Event()
    external = ExternalSystem(until=wake)
    publish(store, stock("CHAIR", 1, 1))
    dead_letter_id = a_dead_letter(store, "external")
    requested = replay_service.request_dead_letters(store, [dead_letter_id], rate=None, actor="cli:ada")
    try:
        with delivery(hub_dsn, {"external": external.subscribers(types=("none",))["external"]}):
            eventually(lambda: len(external.calls), 1)
            eventually(lambda: query(store, "SELECT kind FROM alert"), [("dead_letters",)])
            wake.set()
            eventually(lambda: query(store, "SELECT state FROM event_replay"), [("done",)])
    finally:
        wake.set()
    assert requested.total == 1


def a_dead_letter(store: Store, subscriber: str = "recorder") -> int:
    ((dead_letter_id,),) = query(
        store,
        "INSERT INTO dead_letter (subscriber, epoch, xid, position, source, type, subject, time, partition_key,"
        " partition, schema_version, data, state, cause, reason) SELECT %s, epoch, xid, position, source, type, subject,"
        " time, partition_key, 0, 1, data, 'dead', 'BadEvent', 'r' FROM event RETURNING dead_letter_id",
        subscriber,
    )
    return int(dead_letter_id)
