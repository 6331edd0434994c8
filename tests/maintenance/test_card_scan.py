"""What is stored is scanned for card data: an alert names the place and never the value, and all rows are read each day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.db.database import Store
from crossdock.maintenance import card_scan
from crossdock.maintenance.card_scan import scan
from crossdock.observability import alerts
from crossdock.observability.alerts import Kind
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sync import Systems
from crossdock.sync.model import SyncRequest
from tests.events.worlds import delivery, eventually, publish, stock
from tests.shop import query
from tests.sync.test_inventory import run

CARD = "4111 1111 1111 1111"


def day_of(store: Store, midnight: datetime | None = None) -> dict[str, str]:
    """Run the scans of a day; return the open alerts: subject → message."""
    midnight = midnight or datetime.now(UTC).replace(hour=0)
    for hour in range(24):
        for _ in scan(store, midnight + timedelta(hours=hour)):
            pass
    with store.transaction() as work:
        return {alert.subject: alert.message for alert in alerts.find(work) if alert.kind == Kind.CARD_DATA_STORED}


def dead_letter(store: Store, reason: str) -> None:
    query(
        store,
        "INSERT INTO dead_letter (subscriber, epoch, xid, position, source, type, time, partition_key, partition,"
        " schema_version, data, state, cause, reason) VALUES ('recorder', 1, '1', 7, 's', 't', now(), 'k', 0, 1, '{}', 'dead',"
        " 'BadEvent', %s) RETURNING 1",
        reason,
    )


def test_card_data_that_got_in_are_named_by_their_place_and_never_shown(store: Store) -> None:
    """In a text, in a document, and in a partition of the events."""
    dead_letter(store, f"refused: {CARD}")
    publish(store, stock("CHAIR", 1, 1, note=CARD), stock("TABLE", 1, 1, card={"cvc": "123"}), stock("SOFA", 1, 1))

    found = day_of(store)

    assert set(found) == {"dead_letter.reason", "event.data"}
    assert "2 rows" in found["event.data"]
    assert not [message for message in found.values() if "1111" in message or "123" in message]


def test_a_hub_that_has_synced_a_shop_has_none(store: Store, shop: FakeRetailer, systems: Systems) -> None:
    """With its UUIDs, EANs and times; and what was masked before it landed is none."""
    row = next(iter(shop.state.collection("inventory").rows())).document
    comment = {"fields": {"comment": f"customer's card: {CARD}"}}
    shop.state.change("inventory", row["id"], lambda document: document.update(custom=comment))
    run(systems, SyncRequest(full=True))

    assert day_of(store) == {}


def test_the_alert_closes_when_a_whole_day_has_not_seen_it_again(store: Store) -> None:
    dead_letter(store, CARD)
    today = datetime.now(UTC).replace(hour=0)
    assert day_of(store, today)
    query(store, "DELETE FROM dead_letter RETURNING 1")

    assert day_of(store, today), "the first scans after it may not have come to its place"
    assert day_of(store, today + timedelta(days=2)) == {}


@given(st.integers(0, 2_000_000))
def test_each_block_is_read_once_a_day_in_small_steps(blocks: int) -> None:
    parts = [part for hour in range(24) for part in card_scan._parts(blocks, hour)]

    assert [first for first, _ in parts] == [0, *(end for _, end in parts[:-1])][: len(parts)]
    assert (parts[-1][1] if parts else 0) == blocks
    assert all(0 < end - first <= 256 for first, end in parts)


def test_the_delivery_worker_scans(store: Store, hub_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_scan, "_parts", lambda blocks, _: [(0, blocks)] if blocks else [])
    dead_letter(store, CARD)

    with delivery(hub_dsn, {}):
        eventually(
            lambda: query(store, "SELECT kind, subject FROM alert WHERE kind = 'card_data_stored'"),
            [(Kind.CARD_DATA_STORED, "dead_letter.reason")],
        )
