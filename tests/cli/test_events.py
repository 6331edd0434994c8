"""./hub events: what a person reads there can be typed back."""

from __future__ import annotations

from datetime import UTC, datetime

from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.model import WEBHOOK_RECEIVED, NewEvent
from tests.cli.conftest import Hub
from tests.events.worlds import publish, stock
from tests.shop import query


def test_show_accepts_the_event_ids_of_tail(hub: Hub, store: Store) -> None:
    """A webhook's event has its sender's id; `show` refused that, and sent people back to `tail` for another."""
    event = NewEvent(
        source="/webhooks/shop",
        type=WEBHOOK_RECEIVED,
        subject="inventory/A",
        time=datetime.now(UTC),
        partition_key="inventory/A",
        data='{"dataset": "inventory", "key": "A", "body": "{}"}',
        event_id="msg_1",
    )
    with store.transaction() as work:
        event_store.receive(work, event)

    place = hub("events", "tail").out.split()[0]

    document = hub("events", "show", place, "--json").document
    assert (document["id"], document["senderid"]) == (place, "msg_1")


def test_events_of_several_types_are_counted_before_they_are_replayed(hub: Hub, store: Store) -> None:
    publish(store, stock("A", 1, 1), stock("B", 1, 1))

    counted = hub("events", "replay", "--type", "crossdock.stock.changed", "--key", "A", "--json")
    tail = hub(
        "events", "tail", "--type", "crossdock.stock.changed", "--type", "crossdock.order.changed", "--limit", "1"
    )

    assert counted.document["dry_run"] is True
    assert {"availability": 1, "changed_record": 0}.items() <= counted.document["events"].items()
    assert "crossdock.stock.changed B" in tail.text.replace("  ", " ")


def test_the_model_is_compared_first_and_replaced_with_yes(hub: Hub, store: Store) -> None:
    publish(store, stock("A", 1, 5))

    compared, replaced = hub("events", "rebuild"), hub("events", "rebuild", "--yes", "--json")

    assert "✗ 1 event: 1 row of the model did not agree." in compared.text
    assert compared.code == 3
    assert replaced.document == {"events": 1, "differences": 1, "replaced": True}
    assert query(store, "SELECT actor FROM audit_entry") == [("airflow:otto",)]
