"""What the delivery does beside its events, and that none of it stops the rest."""

from __future__ import annotations

import pytest

from include.flows import replay_events
from include.flows.deliver_events import housekeeping
from include.handlers import Subscriber
from include.model.events import STOCK_CHANGED
from include.store import event_readers
from include.store.database import Store
from include.store.event_log import Selection
from tests.events.worlds import delivery, eventually, publish, stock
from tests.shop import query

HEARS = {"told": Subscriber(types=(STOCK_CHANGED,), apply=lambda _, __: None)}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "_STORE_EVERY_S", 0.3)


def test_the_delivery_lets_go_of_what_is_past_its_time(store: Store, hub_dsn: str) -> None:
    query(store, "INSERT INTO event_identity VALUES ('old', '/s', now() - interval '500 days') RETURNING 1")

    with delivery(hub_dsn, HEARS):
        eventually(lambda: query(store, "SELECT count(*) FROM event_identity"), [(0,)])


def test_the_delivery_opens_alerts_and_closes_them(store: Store, hub_dsn: str) -> None:
    """Dead letters of a subscriber, until somebody has dealt with them."""
    publish(store, stock("CHAIR", 1, 1))
    query(
        store,
        "INSERT INTO failed_delivery (subscriber, epoch, xid, position, source, type, time, partition_key, partition,"
        " schema_version, data, state, cause, reason) VALUES ('told', 1, '1', 7, 's', 't', now(), 'k', 0, 1, '{}', 'dead',"
        " 'BadEvent', 'r') RETURNING 1",
    )
    standing = "SELECT kind, closed_at IS NULL FROM alert"

    with delivery(hub_dsn, HEARS):
        eventually(lambda: query(store, standing), [("dead_letters", True)])
        query(store, "UPDATE failed_delivery SET state = 'discarded', closed_at = now() RETURNING 1")
        eventually(lambda: query(store, standing), [("dead_letters", False)])


def test_work_that_fails_for_good_stops_neither_replays_nor_the_rest(store: Store, hub_dsn: str) -> None:
    """A table that nobody may delete from would otherwise end the one thread that also works off replays."""
    publish(store, stock("CHAIR", 1, 1))
    with store.transaction() as work:
        work.execute(b"ALTER TABLE refused_webhook RENAME TO elsewhere")
    with store.transaction() as work:
        event_readers.register(work, "availability", 2)
    asked = replay_events.ask_for_events(store, Selection(), ["availability"], rate=None, actor="cli:ada")

    with delivery(hub_dsn):
        eventually(lambda: query(store, "SELECT state FROM event_replay"), [("done",)])
    assert asked.total == 1
