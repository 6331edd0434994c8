"""Events on their pages: what led to one, who had it and when, lag, volumes beside last week's, and a replay with its count first."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.delivery import inbox
from crossdock.events.model import STOCK_CHANGED, WEBHOOK_RECEIVED, NewEvent
from tests.api.conftest import Hub
from tests.api.test_orders import place
from tests.events.worlds import publish, stock
from tests.shop import query
from tests.sync.quarantine.test_service import Triage
from tests.sync.records import entry
from tests.web.conftest import Visitor
from tests.web.test_other_pages import DEAD_LETTER
from tests.web.test_quarantine import text_of

HOUR = "INSERT INTO event_hour (hour, type, silent, events) VALUES (date_trunc('hour', now(), 'UTC') - %s::interval, %s, false, %s) RETURNING 1"


def webhook(key: str) -> NewEvent:
    return NewEvent(
        source="/webhooks/commercetools",
        type=WEBHOOK_RECEIVED,
        subject=f"inventory/{key}",
        time=datetime.now(UTC),
        partition_key=f"commercetools.inventory/{key}",
        data=json.dumps({"dataset": "inventory", "key": key, "by_id": False, "body": "{}"}),
    )


def fetched(store: Store, key: str) -> str:
    """A run that fetched the record that a webhook names, and wrote one event."""
    Triage(store).sync(entry(id=key, sku=key))
    ((run_id,),) = query(
        store,
        "UPDATE sync_run SET mode = 'keys', request = %s WHERE run_id = (SELECT run_id FROM sync_run ORDER BY started_at DESC LIMIT 1) RETURNING run_id",
        json.dumps({"keys": [key]}),
    )
    return str(run_id)


class TestCausation:
    def test_a_webhook_leads_to_the_run_that_fetched_its_record_and_to_what_that_wrote(
        self, hub_store: Store, vera: Visitor
    ) -> None:
        publish(hub_store, webhook("SKU-1"), webhook("SKU-2"))
        run_id = fetched(hub_store, "SKU-1")
        ((changed,),) = query(hub_store, "SELECT position FROM event WHERE type = %s", STOCK_CHANGED)
        of_webhook, of_change = vera.get("/events/1-1"), vera.get(f"/events/1-{changed}")

        assert f"/hub/pages/runs/{run_id}" in of_webhook
        assert f"/hub/pages/events/1-{changed}" in of_webhook
        assert "/hub/pages/events/1-1" in of_change
        assert "/hub/pages/events/1-2" not in of_change, "of another record"
        assert "Nothing is known" in vera.get("/events/1-2")

    def test_the_events_of_an_order_follow_from_one_another(self, pages: Hub, hub_store: Store, vera: Visitor) -> None:
        order_id = place(pages).json()["order_id"]
        with hub_store.transaction() as work:
            first = event_store.newest(work, event_store.Selection(key=order_id), limit=1)[0]
            later = NewEvent(
                source=first.source,
                type="crossdock.order.customer_checked",
                subject=order_id,
                time=first.time,
                partition_key=order_id,
                correlation_id=order_id,
                data=first.data,
            )
            event_store.append(work, [later])
        page = text_of(vera.get(f"/events/{first.id}"))

        assert "crossdock.order.created , this event crossdock.order.customer_checked" in page


class TestWhoHadIt:
    def test_each_subscriber_says_when_or_why_not(self, hub_store: Store, vera: Visitor) -> None:
        publish(hub_store, stock("SKU-1", 1, 5))
        assert "availability Waiting" in text_of(vera.get("/events/1-1"))
        with hub_store.transaction() as work:
            inbox.add(work, "availability", event_store.newest(work, event_store.Selection(), limit=1))
        query(hub_store, DEAD_LETTER.replace("'mail'", "'stock'"))
        page = text_of(vera.get("/events/1-1"))

        assert "availability Delivered just now" in page
        assert "stock Dead failed 1 time , last just now" in page

    def test_a_silent_event_is_delivered_to_nobody(self, hub_store: Store, vera: Visitor) -> None:
        publish(hub_store, stock("SKU-1", 1, 5))
        query(hub_store, "UPDATE event SET silent = true RETURNING 1")

        assert "availability Not delivered" in text_of(vera.get("/events/1-1"))


def test_the_lag_of_each_subscriber_is_shown(hub_store: Store, vera: Visitor) -> None:
    publish(hub_store, *(stock("SKU-1", version, 5) for version in (1, 2, 3)))
    page = text_of(vera.get("/event-delivery"))

    assert "availability 3 0.0 s never started" in page or "availability 3 0.1 s never started" in page
    assert "mails 0 — never started" in page


def test_volumes_and_failures_stand_beside_those_of_last_week(hub_store: Store, vera: Visitor) -> None:
    for back, number in (("1 hour", 41), ("169 hours", 42), ("5 hours", 100), ("190 hours", 200), ("0 hours", 7)):
        query(hub_store, HOUR, back, STOCK_CHANGED, number)
    publish(hub_store, stock("SKU-1", 1, 5))
    query(hub_store, DEAD_LETTER)
    query(
        hub_store,
        "UPDATE dead_letter SET first_seen_at = date_trunc('hour', now(), 'UTC') - interval '20 minutes' RETURNING 1",
    )

    assert f"{STOCK_CHANGED} 41 42 141 242 1 0" in text_of(vera.get("/event-volumes"))


def test_what_is_not_counted_yet_is_in_the_volumes(hub_store: Store, vera: Visitor) -> None:
    publish(hub_store, stock("SKU-1", 1, 5))
    query(
        hub_store,
        "UPDATE event SET stored_at = date_trunc('hour', now(), 'UTC') - interval '20 minutes' RETURNING 1",
    )

    assert f"{STOCK_CHANGED} 1 0 1 0 0 0" in text_of(vera.get("/event-volumes"))


class TestReplay:
    def test_it_says_how_many_first_and_then_replays_these(self, hub_store: Store, otto: Visitor) -> None:
        publish(hub_store, stock("SKU-1", 1, 5), stock("SKU-1", 2, 5), stock("SKU-2", 1, 5))
        choice = f"/event-replay?type={STOCK_CHANGED}&key=SKU-1&subscriber=availability&count=true"
        page = text_of(otto.get(choice))
        assert "Would deliver 2 events" in page
        assert query(hub_store, "SELECT count(*) FROM event_replay") == [(0,)]

        begun = text_of(otto.post(choice, "/event-replays"))
        assert "Begun by airflow:otto" in begun
        ((kind, total, request),) = query(hub_store, "SELECT kind, total, request FROM event_replay")
        assert (kind, total, request["subscribers"]) == ("events", 2, ["availability"])
        assert request["selection"]["key"] == "SKU-1"

    @pytest.mark.parametrize("since", ["yesterday", "2026-11-21T00:00:00", "9" * 30])
    def test_a_time_that_is_none_is_refused(self, otto: Visitor, since: str) -> None:
        assert "is not a time" in otto.get(f"/event-replay?since={since}&count=true")
        assert otto.status == 400

    def test_of_a_run_only_its_events_are_listed(self, hub_store: Store, vera: Visitor) -> None:
        Triage(hub_store).sync(entry(id="a", sku="SKU-a"))
        run_id = fetched(hub_store, "SKU-b")
        page = vera.get(f"/events?run={run_id}")

        assert "SKU-b" in page
        assert "SKU-a" not in page
