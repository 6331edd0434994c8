"""The journey of an order, a SKU and a customer: nothing that happened is missing, and nothing but it is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from crossdock.app import journey_repository, journeys
from crossdock.app.journey_repository import Entry
from crossdock.app.journeys import Subject
from crossdock.commerce.orders import service
from crossdock.commerce.orders.placement import PlacedOrder
from crossdock.core.errors import NotFound
from crossdock.db.database import Store
from tests.commerce.orders.placing import OrderHub, open_hub
from tests.shop import query


@pytest.fixture
def hub(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[OrderHub]:
    with open_hub(store, monkeypatch) as opened:
        opened.stock("mug", 10)
        yield opened


def journey_of(hub: OrderHub, placed: PlacedOrder, **given: Any) -> list[Entry]:
    return list(journeys.read(hub.store, Subject.ORDER, placed.order_id, **given).entries)


def names(entries: list[Entry], kind: str) -> list[str]:
    return [entry.name for entry in entries if entry.kind == kind]


def test_a_confirmed_order_has_every_step_mapping_call_fact_event_and_hold_in_time_order(hub: OrderHub) -> None:
    placed = hub.place()
    hub.go_on(placed)
    entries = journey_of(hub, placed)
    steps = [step.name for step in hub.flows[hub.execution(placed).flow].steps]

    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
    assert names(entries, "order") == ["placed"]
    assert names(entries, "step") == steps
    assert set(names(entries, "mapping")) == set(steps)
    assert [name.split()[1] for name in names(entries, "call")] == ["authorise", "capture"]
    assert names(entries, "fact") == ["authorised", "captured"]
    assert [name.rpartition(".")[2] for name in names(entries, "event")][::7] == ["created", "confirmed"]
    assert names(entries, "stock") == ["held", "sold"]
    (posted,) = [entry.detail for entry in entries if entry.kind == "posting"]
    assert posted == {"gateway alpha": 2_500, "revenue alpha": -2_500}
    assert names(entries, "act")[0] == "order.place"


def test_a_retry_is_an_entry_of_its_own_and_so_is_each_undo(hub: OrderHub) -> None:
    placed = hub.place()
    hub.advance(placed, before="authorise_payment")
    hub.fault({"reset": "before"}, times=4)
    hub.advance(placed)
    hub.go_on(placed)
    service.cancel(hub.store, placed.order_id, reason="the customer called", actor="otto")
    hub.go_on(placed)
    entries = journey_of(hub, placed)
    tries = [
        (entry.tries, entry.state) for entry in entries if entry.name == "authorise_payment" and entry.kind == "step"
    ]

    assert [number for number, _ in tries] == list(range(1, len(tries) + 1))
    assert len(tries) > 1
    assert tries[-1][1] == "done"
    assert set(names(entries, "undo")) >= {"capture_payment", "authorise_payment", "reserve_stock"}
    (cancelled,) = [entry for entry in entries if entry.name == "execution.cancel"]
    assert (cancelled.detail["actor"], cancelled.detail["reason"]) == ("otto", "the customer called")


def test_a_step_in_its_call_is_seen_before_it_ends(hub: OrderHub) -> None:
    placed = hub.place()
    hub.advance(placed, before="authorise_payment")
    query(
        hub.store,
        "INSERT INTO execution_step (execution_id, step, direction, state, key, tries) VALUES (%s, 'authorise_payment', 'act',"
        " 'open', 'k', 1) RETURNING 1",
        hub.execution(placed).execution_id,
    )

    (entry,) = [entry for entry in journey_of(hub, placed) if entry.name == "authorise_payment"]
    assert (entry.state, entry.ended_at) == ("open", None)


def test_the_same_order_is_found_by_its_reference_with_its_money_and_its_stock(hub: OrderHub) -> None:
    placed = hub.place("w-7")
    hub.go_on(placed)
    found = journeys.read(hub.store, Subject.ORDER, "w-7")

    assert found.order_id == placed.order_id
    assert [money.amounts.captured_minor for money in found.money] == [2_500]
    assert [(hold.sku, hold.quantity, hold.state) for hold in found.stock] == [("mug", 2, "sold")]


def test_pages_have_each_entry_once_and_in_order(hub: OrderHub) -> None:
    placed = hub.place()
    hub.go_on(placed)
    whole = journey_of(hub, placed, limit=500)
    read: list[Entry] = []
    while True:
        after = (read[-1].at, read[-1].sort) if read else None
        page = journeys.read(hub.store, Subject.ORDER, placed.order_id, after=after, limit=7)
        read += page.entries
        if not page.has_more:
            break

    assert read == whole


def test_a_sku_has_its_holds_its_events_and_its_items_in_quarantine(hub: OrderHub) -> None:
    placed = hub.place()
    hub.go_on(placed)
    query(
        hub.store,
        "INSERT INTO quarantine_item (integration, dataset, record_id, record_key, version, cause, failures, raw, first_run_id,"
        " last_run_id) VALUES ('shop', 'inventory', 'i-1', 'mug', 3, 'stock_is_not_negative', '[]', '', 'r-1', 'r-1') RETURNING 1",
    )
    query(
        hub.store,
        "INSERT INTO event (source, type, subject, time, partition_key, data)"
        " VALUES ('shop', 'crossdock.stock.changed', 'i-1', now(), 'mug', '{\"sku\": \"mug\", \"note\": \"\\u0000\"}') RETURNING 1",
    )
    found = journeys.read(hub.store, Subject.SKU, "mug")

    assert [(entry.name, entry.ref) for entry in found.entries if entry.kind == "stock"] == [
        ("held", placed.order_id),
        ("sold", placed.order_id),
    ]
    assert [entry.message for entry in found.entries if entry.kind == "quarantine"] == ["stock_is_not_negative"]
    assert names(list(found.entries), "event") == ["crossdock.stock.changed"]


def test_a_record_has_its_versions_and_the_dag_runs_that_brought_them(store: Store) -> None:
    query(
        store,
        "INSERT INTO sync_run (run_id, integration, dataset, shard, mode, request, state, moves_watermark, dag_id, dag_run_id, read,"
        " updated) VALUES ('r-1', 'shop', 'inventory', 'all', 'delta', '{}', 'done', true, 'sync_shop_inventory', 'manual__1', 1, 1)"
        " RETURNING 1",
    )
    ((batch,),) = query(
        store,
        "INSERT INTO sync_batch (run_id, batch_no, records, loaded_at) VALUES ('r-1', 0, 1, now()) RETURNING batch_id",
    )
    for table, version in (("inventory", 2), ("inventory_history", 1)):
        named, value = (", superseded_by", ", 1") if "history" in table else ("", "")
        query(
            store,
            f"INSERT INTO {table} (integration, id, version, sku, quantity_on_stock, available_quantity, created_at,"
            f" last_modified_at, batch_id{named}) VALUES ('shop', 'i-1', %s, 'mug', 5, 5, now(), now(), %s{value}) RETURNING 1",
            version,
            batch,
        )
    entries = journeys.read(store, Subject.SKU, "mug").entries

    assert [entry.detail["version"] for entry in entries if entry.kind == "record"] == [1, 2]
    (run,) = [entry for entry in entries if entry.kind == "run"]
    assert (run.name, run.detail["dag_run_id"], run.detail["updated"]) == ("sync_shop_inventory", "manual__1", 1)


def test_a_sku_that_is_not_the_master_one_has_the_versions_of_its_product(store: Store) -> None:
    add_product(store, "mug-red", "mug-blue")

    for sku in ("mug-red", "mug-blue"):
        found = journeys.read(store, Subject.SKU, sku).entries
        assert [(entry.kind, entry.name, entry.detail["key"]) for entry in found] == [
            ("record", "shop.products", "mug")
        ]
    with pytest.raises(NotFound, match="Nothing happened to sku 'mug-green' since"):
        journeys.read(store, Subject.SKU, "mug-green")


def add_product(store: Store, *skus: str) -> None:
    query(
        store,
        "INSERT INTO product (integration, id, version, key, published, name, slug, categories, master_sku, variants, created_at,"
        " last_modified_at, batch_id) VALUES ('shop', 'p-1', 1, 'mug', true, '{}', '{}', '[]', %s, %s, now(), now(), 1) RETURNING 1",
        skus[0],
        json.dumps([{"sku": sku} for sku in skus]),
    )


def test_of_two_shops_with_one_order_number_each_has_its_own_journey(hub: OrderHub) -> None:
    """Their orders, their items in quarantine, and what their events and webhooks say."""
    for shop in ("shop_eu", "shop_us"):
        query(
            hub.store,
            "INSERT INTO sales_order (integration, id, version, order_number, order_state, currency, total_minor, line_count, lines,"
            " placed_at, last_modified_at, batch_id) VALUES (%s, 'a', 1, '4711', 'Open', 'EUR', 1, 0, '[]', now(), now(), 1) RETURNING 1",
            shop,
        )
        query(
            hub.store,
            "INSERT INTO event (source, type, subject, time, partition_key, data)"
            " VALUES ('/integrations/' || %s, 'crossdock.order.changed', 'a', now(), '4711', '{}') RETURNING 1",
            shop,
        )
    unnamed = journeys.read(hub.store, Subject.ORDER, "4711")
    both = unnamed.entries
    placed = hub.place("4711", platform="shop_us")
    of = {
        key: [entry.name for entry in journeys.read(hub.store, Subject.ORDER, key, platform=platform).entries]
        for key, platform in (("4711", "shop_eu"), (placed.order_id, None))
    }

    assert sorted(entry.name for entry in both) == [
        *["crossdock.order.changed"] * 2,
        "shop_eu.orders",
        "shop_us.orders",
    ]
    assert sorted(of["4711"]) == ["crossdock.order.changed", "shop_eu.orders"]
    assert "shop_us.orders" in of[placed.order_id]
    assert "shop_eu.orders" not in of[placed.order_id]
    assert unnamed.platforms == ["shop_eu", "shop_us"]
    assert journeys.read(hub.store, Subject.ORDER, placed.order_id).platforms == []
    assert journeys.read(hub.store, Subject.ORDER, "4711", platform="shop_eu").platforms == []
    with pytest.raises(NotFound, match="of shop_uk"):
        journeys.read(hub.store, Subject.ORDER, "4711", platform="shop_uk")


def test_an_order_of_the_hub_alone_has_no_entries_of_a_shop_with_its_number(hub: OrderHub) -> None:
    """Two orders that have nothing to do with each other."""
    query(
        hub.store,
        "INSERT INTO sales_order (integration, id, version, order_number, order_state, currency, total_minor, line_count, lines,"
        " placed_at, last_modified_at, batch_id)"
        " VALUES ('shop_eu', 'a', 1, 'w-1', 'Open', 'EUR', 1, 0, '[]', now(), now(), 1) RETURNING 1",
    )
    placed = hub.place("w-1")

    found = journeys.read(hub.store, Subject.ORDER, "w-1")
    assert (found.order_id, found.platforms) == (placed.order_id, ["shop_eu"])
    assert "shop_eu.orders" not in {entry.name for entry in found.entries}
    assert "shop_eu.orders" in {
        entry.name for entry in journeys.read(hub.store, Subject.ORDER, "w-1", platform="shop_eu").entries
    }
    with pytest.raises(NotFound, match="is not of shop_eu"):
        journeys.read(hub.store, Subject.ORDER, placed.order_id, platform="shop_eu")


def test_each_state_of_a_hold_is_an_entry_at_its_time(hub: OrderHub) -> None:
    """Also those that it has no more."""
    placed = hub.place()
    hub.go_on(placed)
    service.cancel(hub.store, placed.order_id, reason="r", actor="otto")
    hub.go_on(placed)
    entries = [entry for entry in journey_of(hub, placed) if entry.kind == "stock"]

    assert [entry.name for entry in entries] == ["held", "sold", "released"]
    assert entries[0].at < entries[1].at < entries[2].at


def test_a_customer_has_orders_and_mails(hub: OrderHub) -> None:
    placed = hub.place()
    hub.go_on(placed)
    query(
        hub.store,
        "INSERT INTO mail (business_key, kind, state, recipient) VALUES (%s, 'order_confirmation', 'sent', 'ada@example.com')"
        " RETURNING 1",
        placed.order_id,
    )
    found = journeys.read(hub.store, Subject.CUSTOMER, "ada@example.com")

    assert [(entry.kind, entry.name) for entry in found.entries] == [
        ("order", "placed"),
        ("mail", "order_confirmation"),
    ]


@pytest.mark.parametrize(
    ("subject", "key"), [("order", "w-none"), ("sku", "none"), ("customer", "none"), ("customer", "n@x.example")]
)
def test_what_is_not_there_says_what_to_try(store: Store, subject: str, key: str) -> None:
    with pytest.raises(NotFound, match=r"key|since"):
        journeys.read(store, Subject(subject), key)


#: Table → its columns, and their values for the row number n.
_MANY = {
    "placed_order": (
        "order_id, reference, currency, total_minor, email, lines, payment_methods, created_by, platform",
        "'o' || n, 'w' || n, 'EUR', 1, n || '@x.example', '[]', '{}', 't', 'stripe'",
    ),
    "execution": (
        "execution_id, flow, subject, driver, input, created_by",
        "'e' || n, 'order.reserve_first.v1', 'o' || n, 'events', '{}', 't'",
    ),
    "execution_run": ("execution_id, run_id", "'e' || n, 'r'"),
    "execution_step": ("execution_id, step, direction, state, key, tries", "'e' || n, 's', 'act', 'done', 'k', 1"),
    "audit_entry": ("actor, act, subject, detail", "'t', 'order.place', 'order/o' || n, '{}'"),
    "payment": (
        "payment_id, reference, amount_minor, currency, payment_methods, state, created_by",
        "'p' || n, 'o' || n, 1, 'EUR', '{}', 'captured', 't'",
    ),
    "payment_leg": (
        "payment_id, operation, request_key, gateway, key, reference",
        "'p' || n, 'capture', '', 'stripe', 'k' || n, 'r'",
    ),
    "posting": (
        "entry_id, payment_id, account, gateway, amount_minor",
        "n / 2, 'p' || (n / 2 + 1), CASE n %% 2 WHEN 0 THEN 'gateway' ELSE 'revenue' END, 'stripe', CASE n %% 2 WHEN 0 THEN 1 ELSE -1 END",
    ),
    "attempt": ("integration, action, key, request_digest, open_until", "'stripe', 'capture', 'k' || n, '', now()"),
    "payment_fact": (
        "payment_id, gateway, payment_ref, operation_ref, kind, occurred_at, origin",
        "'p' || n, 'stripe', 'r' || n, 'r' || n, 'captured', now(), 'event'",
    ),
    "mail": ("business_key, kind, state, recipient", "'o' || n, 'order_confirmation', 'sent', n || '@x.example'"),
    "warehouse": ("warehouse_id", "'w' || n"),
    "stock": ("warehouse_id, sku, on_hand, available, version, as_of", "'w' || n, 's' || n, 1, 1, 1, now()"),
    "stock_hold": ("order_id, sku, warehouse_id, quantity", "'o' || n, 's' || n, 'w' || n, 1"),
    "sync_run": (
        "run_id, integration, dataset, shard, mode, request, state, moves_watermark",
        "'r' || n, 'shop', 'inventory', 'all', 'delta', '{}', 'done', true",
    ),
    "sync_batch": ("run_id, batch_no, records", "'r' || n, 0, 1"),
    "quarantine_item": (
        "integration, dataset, record_id, record_key, version, cause, failures, raw, first_run_id, last_run_id",
        "'shop', 'inventory', 'i' || n, 's' || n, 1, 'c', '[]', '', 'r' || n, 'r' || n",
    ),
    "inventory": (
        "integration, id, version, sku, quantity_on_stock, available_quantity, created_at, last_modified_at, batch_id",
        "'shop', 'i' || n, 1, 's' || n, 1, 1, now(), now(), n",
    ),
    "product": (
        (
            "integration, id, version, key, published, name, slug, categories, master_sku, variants, created_at,"
            " last_modified_at, batch_id"
        ),
        "'shop', 'p' || n, 1, 'k' || n, true, '{}', '{}', '[]', 'm' || n, json_build_array(json_build_object('sku', 's' || n)), now(), now(), n",
    ),
    "sales_order": (
        (
            "integration, id, version, order_number, order_state, customer_id, currency, total_minor, line_count, lines,"
            " placed_at, last_modified_at, batch_id"
        ),
        "'shop', 'a' || n, 1, 'w' || n, 'Open', 'c' || n, 'EUR', 1, 0, '[]', now(), now(), n",
    ),
    "customers": (
        "integration, id, version, email, created_at, last_modified_at, batch_id",
        "'shop', 'c' || n, 1, n || '@x.example', now(), now(), n",
    ),
    # Ten for each order: the largest table of a hub.
    "event": (
        "source, type, subject, time, partition_key, data",
        "'crossdock/orders', 'crossdock.order.created', 'o', now(), 'o' || n / 10, '{}'",
    ),
}


#: As housekeeping and autovacuum do it.
_SUMMARISE = """
SELECT brin_summarize_new_values(pg_class.oid) FROM pg_class JOIN pg_am ON pg_am.oid = relam
 WHERE amname = 'brin' AND relkind = 'i' AND relname LIKE '%%key%%'
"""


@pytest.fixture
def large(store: Store) -> Store:
    """A store with many orders, SKUs and customers, analysed as autovacuum would, its filters by key summarised."""
    for table, (columns, values) in _MANY.items():
        rows = 200_000 if table == "event" else 20_000
        added = f"INSERT INTO {table} ({columns}) SELECT {values} FROM generate_series(2, {rows + 1}) n RETURNING 1"
        query(store, f"WITH added AS ({added}) SELECT count(*) FROM added")
    query(store, _SUMMARISE)
    with store.question() as work:
        work.execute(b"ANALYZE")
    return store


_KEYS = {
    "order": {"order_id": "o7", "order_number": "w7"},
    "sku": {"sku": "s7"},
    "customer": {"emails": ["7@x.example"], "ids": ["c7"]},
    "execution": {"execution_id": "e7", "order_id": "o7"},
}


def test_no_part_of_a_journey_reads_a_whole_table(large: Store) -> None:
    """Also of the events, of which a few filters by key say in which pages they can be."""
    since = datetime(2020, 1, 1, tzinfo=UTC)
    rest = {"since": since, "after_at": None, "after": None, "limit": 100, "platform": None, "order_dag": "place_order"}
    for subject, key in _KEYS.items():
        with large.transaction() as work:
            work.execute(journey_repository._BY_KEY)
            statement = b"EXPLAIN (ANALYZE, FORMAT JSON) " + journey_repository.STATEMENTS[subject]
            ((plan,),) = work.execute(statement, {**key, **rest}).fetchall()
        read = list(_reads(plan[0]["Plan"]))

        assert len(read) > 10, subject
        assert [found for found in read if found[0] == "Seq Scan" and found[1] not in _EMPTY] == [], subject
        assert [found for found in read if found[2] > 5_000] == [], (
            f"{subject}: so many rows were looked at for one key"
        )


#: The default partition of the events: without an index of its own pages, as it has none.
_EMPTY = frozenset({"event_default"})


def _reads(plan: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    """Each scan of a table: how, of which, and how many of its rows were looked at."""
    if relation := plan.get("Relation Name"):
        looked_at = (
            plan["Actual Rows"] + plan.get("Rows Removed by Index Recheck", 0) + plan.get("Rows Removed by Filter", 0)
        )
        yield plan["Node Type"], relation, looked_at
    for inner in plan.get("Plans", []):
        yield from _reads(inner)
