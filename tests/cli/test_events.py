"""./hub events: what a person reads there can be typed back."""

from __future__ import annotations

from datetime import UTC, datetime

from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.model import WEBHOOK_RECEIVED, NewEvent
from tests.cli.conftest import Hub


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

    assert hub("events", "show", place, "--json").document["id"] == "msg_1"
