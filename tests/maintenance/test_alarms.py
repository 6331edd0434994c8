"""An alert begins when something is wrong, once, says what to do, and ends by itself when it is not wrong any more."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta

import pytest
from crossdock.app.airflow.deadlines import RunIsLate
from crossdock.app.fetch_records import Puller
from crossdock.cli.stack import _facts_of
from crossdock.connectors.commercetools.stream_inventory import INVENTORY
from crossdock.core.errors import HubError
from crossdock.db.database import Store
from crossdock.events.delivery import consumer_leases as event_readers
from crossdock.events.model import STOCK_CHANGED
from crossdock.events.subscriber import Subscriber
from crossdock.events.webhooks_in import refused as refused_webhooks
from crossdock.http.breaker import BreakerRules
from crossdock.http.shared_breaker import SharedBreaker
from crossdock.maintenance import alarms
from crossdock.maintenance.alarms import Limits, look
from crossdock.observability import alerts
from crossdock.sandbox.server import Sandbox
from crossdock.sync import Systems, extract, load, mark_failed, validate
from crossdock.sync.model import SyncRequest

from tests.events.worlds import publish, stock
from tests.shop import query

HEARS = {"availability": Subscriber(types=(STOCK_CHANGED,))}
#: No wait before somebody is told.
AT_ONCE = Limits(unread=timedelta(0), broken=timedelta(0), refused=1)


def told(store: Store, limits: Limits = AT_ONCE) -> dict[tuple[str, str], str]:
    """What is open after a look: (kind, subject) → message."""
    alarms.look(store, HEARS, limits)
    with store.transaction() as work:
        return {(alert.kind, alert.subject): alert.message for alert in alerts.find(work)}


def test_dead_letters_are_told_with_number_causes_and_what_to_do(store: Store) -> None:
    """They raised nothing: a subscriber that could take no event at all was seen by whoever happened to look."""
    publish(store, stock("CHAIR", 1, 1))
    for position, cause in enumerate(("BadEvent", "BadEvent", "KeyError")):
        query(
            store,
            "INSERT INTO failed_delivery (subscriber, epoch, xid, position, source, type, time, partition_key, partition,"
            " schema_version, data, state, cause, reason) SELECT 'availability', 1, '1', %s, 's', 't', now(), 'k', 0, 1,"
            " '{}', 'dead', %s, 'r' RETURNING 1",
            position,
            cause,
        )

    message = told(store)["dead_letters", "availability"]

    assert "3 events: 2 BadEvent, 1 KeyError" in message
    (shown,) = _facts_of(store)["alerts"]  # type: ignore[misc]
    assert "./hub dead-letters list" in shown
    query(
        store, "UPDATE failed_delivery SET state = 'replayed', closed_at = now() WHERE cause = 'KeyError' RETURNING 1"
    )
    assert "2 events: 2 BadEvent" in told(store)["dead_letters", "availability"]
    query(store, "UPDATE failed_delivery SET state = 'replayed', closed_at = now() RETURNING 1")
    assert told(store) == {}
    assert query(store, "SELECT count(*), count(closed_at) FROM alert") == [(1, 1)]


def test_events_that_nobody_reads_are_told(store: Store) -> None:
    """A partition whose worker is gone and that no other takes: its events wait, and nothing is red."""
    with store.transaction() as work:
        event_readers.register(work, "availability", 1)
    assert told(store) == {}, "nobody reads, and nothing waits"
    publish(store, stock("CHAIR", 1, 1))
    assert told(store, Limits()) == {}, "a worker is restarted in seconds"

    ((kind, subject),) = told(store)
    assert (kind, subject) == ("events_unread", "availability/0")

    with store.transaction() as work:
        claim = event_readers.claim(work, "availability", 0, "worker", timedelta(minutes=1))
    assert told(store) == {}
    with store.transaction() as work:
        assert claim is not None
        event_readers.release(work, [claim])
        work.execute(b"UPDATE event_reader SET epoch = 9")
    assert told(store) == {}, "it has read them all"


def test_a_breaker_that_stays_open_is_told_until_it_closes(store: Store) -> None:
    """Half open it lets a call through now and then, and is not well yet."""
    breaker = SharedBreaker(store.another(), "shop", BreakerRules(open_s=0.0))
    for _ in range(100):
        breaker.record(failed=True)
    assert told(store, Limits()) == {}, "it has only just opened"
    assert ("breaker_open", "shop") in told(store)
    breaker.before_call()
    assert query(store, "SELECT state->>'phase' FROM breaker") == [("half_open",)]
    assert ("breaker_open", "shop") in told(store)

    for _ in range(10):
        breaker.record(failed=False)
    assert told(store) == {}


def test_webhooks_that_are_refused_one_after_the_other_are_told(store: Store) -> None:
    """Most often a key was changed on one side only, and every delivery is lost."""
    with store.transaction() as work:
        for _ in range(10):
            refused_webhooks.add(work, "shop", "no signature of it is made with a key of ours", size_bytes=10)
    message = told(store, Limits())["webhooks_refused", "shop"]

    assert "10 webhooks of shop" in message
    assert "shop_webhook" in message
    query(store, "UPDATE refused_webhook SET last_at = now() - interval '2 hours' RETURNING 1")
    assert told(store, Limits()) == {}


def test_a_failed_run_is_told_until_one_of_its_sync_ends_well(systems: Systems) -> None:
    """Ten failures of a night are one alert, with the last one's words."""
    for attempt in ("first", "second"):
        extract(INVENTORY, systems, SyncRequest(), dag_run_id=attempt)
        mark_failed(INVENTORY, systems.store, attempt, f"the {attempt} failure")
    ((key, message),) = told(systems.store).items()
    assert key == ("run_failed", "inventory from commercetools (all)")
    assert "the second failure" in message

    load(INVENTORY, systems, validate(INVENTORY, systems, extract(INVENTORY, systems, SyncRequest())))

    assert told(systems.store) == {}


def rename(store: Store, table: str, name: str) -> None:
    with store.transaction() as work:
        work.execute(f"ALTER TABLE {table} RENAME TO {name}".encode())


def test_a_pull_that_fails_is_told_by_its_event_alone(systems: Systems, shop: Sandbox) -> None:
    """
    It has one of sixteen leases, by its first key. After an outage the next pulls have others: sixteen alerts of an hour
    ago were open for ever. Its event is tried again, or is a dead letter, which is told.
    """
    with Puller(lambda _: nullcontext(systems)) as puller:
        rename(systems.store, "inventory", "away")
        with pytest.raises(HubError):
            puller.pull("inventory", [shop.world.shelf("inventory").rows()[0].document["sku"]])
        rename(systems.store, "away", "inventory")
    assert query(systems.store, "SELECT state FROM sync_run") == [("failed",)]

    assert told(systems.store) == {}


def test_a_late_run_is_told_until_it_has_ended(systems: Systems, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that has not come as far as the ledger."""
    monkeypatch.setattr(Store, "from_connection", classmethod(lambda cls, _: cls(systems.store.dsn)))
    RunIsLate("sync_inventory").notify({"dag_run": {"dag_run_id": "noon", "state": "running"}})
    late = ("run_late", "sync_inventory/noon")
    assert list(told(systems.store)) == [late]
    run_id = extract(INVENTORY, systems, SyncRequest(), dag_id="sync_inventory", dag_run_id="noon")
    assert list(told(systems.store)) == [late]

    load(INVENTORY, systems, validate(INVENTORY, systems, run_id))

    assert told(systems.store) == {}


def test_what_begins_and_ends_is_logged_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Every half minute, a log would hold nothing else by the morning."""
    with store.transaction() as work:
        refused_webhooks.add(work, "shop", "its timestamp is too old", size_bytes=10)
    with caplog.at_level(logging.INFO, logger=alarms.__name__):
        told(store)
        told(store)
        query(store, "DELETE FROM refused_webhook RETURNING 1")
        told(store)
        told(store)

    assert [record.levelname for record in caplog.records if record.name == look.__module__] == ["WARNING", "INFO"]


def test_what_begins_again_is_another_alert(store: Store) -> None:
    """When it was wrong, and for how long, is what one wants to know afterwards."""
    for _ in range(2):
        with store.transaction() as work:
            assert alerts.add(work, kind="k", subject="s", message="m")
            assert not alerts.add(work, kind="k", subject="s", message="m")
            alerts.close(work, "k", subject="s")

    assert query(store, "SELECT count(*), count(closed_at) FROM alert") == [(2, 2)]


def test_the_status_looks_first_and_shows_what_is_open(store: Store) -> None:
    """Where no worker delivers, nobody else would have looked."""
    alarms.look(store, HEARS, AT_ONCE)
    with store.transaction() as work:
        alerts.add(work, kind="k", subject="over", message="it was wrong")
        alerts.close(work, "k", subject="over")
        alerts.add(work, kind="k", subject="open", message="it is wrong")

    (shown,) = _facts_of(store)["alerts"]  # type: ignore[misc]

    assert shown.endswith(": it is wrong")


@pytest.fixture(autouse=True)
def _close(store: Store) -> Iterator[None]:
    yield
    store.close()
