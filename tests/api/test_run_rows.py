"""What became of each record of a run, over HTTP: its rows, its events, its items in quarantine."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from crossdock.db.database import Store
from tests.api.conftest import Hub
from tests.shop import query
from tests.sync.quarantine.test_service import Triage
from tests.sync.records import entry


@pytest.fixture
def synced(hub: Hub) -> Iterator[Store]:
    """Two runs of a shop: one that inserts, and one that updates, inserts and rejects."""
    with hub.store() as store:
        clear(store)
        Triage(store).sync(entry(id="a", sku="CHEST"), entry(id="b", sku="BENCH"))
        Triage(store).sync(
            entry(id="a", sku="CHEST", version=9, quantityOnStock=1, availableQuantity=1),
            entry(id="b", sku="BENCH"),
            entry(id="ü/c", sku="STOOL"),
            entry(id="d\t", sku=""),
        )
        yield store
        clear(store)


def clear(store: Store) -> None:
    """Other tests of this server have records with the same IDs."""
    for table in ("quarantine_item", "inventory", "inventory_history", "sync_run"):
        query(store, f"DELETE FROM {table} RETURNING 1")


def run_ids(store: Store) -> list[str]:
    return [run_id for (run_id,) in query(store, "SELECT run_id FROM sync_run ORDER BY started_at")]


def rows(hub: Hub, run_id: str, **chosen: Any) -> Any:
    answer = hub.call("GET", f"/v1/runs/{run_id}/rows", "vera", params=chosen)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_rows_of_a_run_say_what_became_of_each_record(hub: Hub, synced: Store) -> None:
    _, second = run_ids(synced)
    page = rows(hub, second)

    assert [(row["outcome"], row["record_id"], row["record_key"]) for row in page["rows"]] == [
        ("updated", "a", "CHEST"),
        ("rejected", "d\t", ""),
        ("inserted", "ü/c", "STOOL"),
    ]
    assert page["rows"][1]["cause"] == "id_is_well_formed"
    assert page["counts"]["unchanged"] == 1
    assert [row["record_id"] for row in rows(hub, second, outcome="inserted")["rows"]] == ["ü/c"]


def test_pages_of_rows_have_each_once(hub: Hub, synced: Store) -> None:
    """Two of them have IDs that no pattern would let through as they are."""
    _, second = run_ids(synced)
    found, cursor = list[str](), None
    while True:
        page = rows(hub, second, limit=1, **({"cursor": cursor} if cursor else {}))
        found += [row["record_id"] for row in page["rows"]]
        if (cursor := page["next_cursor"]) is None:
            break

    assert found == ["a", "d\t", "ü/c"]


def test_a_cursor_says_nothing_of_the_record_that_it_stands_at(hub: Hub, synced: Store) -> None:
    """An ID may be a customer's address, which the list itself masks."""
    _, second = run_ids(synced)
    query(synced, "UPDATE inventory SET id = 'ada@example.com' WHERE id = 'ü/c' RETURNING 1")
    cursors = [rows(hub, second, limit=1)["next_cursor"]]
    cursors += [rows(hub, second, limit=1, cursor=cursors[0])["next_cursor"]]
    said = [base64.urlsafe_b64decode(cursor) + bytes(cursor, "ascii") for cursor in cursors if cursor]

    assert len(said) == 2
    for plain in (b"ada", b"ada".hex().encode(), base64.b64encode(b"ada")):
        assert [each for each in said if plain in each] == []


@pytest.mark.parametrize("cursor", ["updated.1.61", "gAAAAABn", "a" * 40])
def test_a_cursor_of_nobody_is_refused(hub: Hub, synced: Store, cursor: str) -> None:
    _, second = run_ids(synced)
    answer = hub.call("GET", f"/v1/runs/{second}/rows", "vera", params={"cursor": cursor})

    assert answer.status_code == 400


@pytest.mark.usefixtures("synced")
@pytest.mark.parametrize("path", ["/v1/runs/nope/rows", "/v1/events?run=nope"])
def test_a_run_that_does_not_exist_is_named(hub: Hub, path: str) -> None:
    answer = hub.call("GET", path, "vera")

    assert answer.status_code == 404
    assert answer.json()["hint"]["id"] == "list_runs"


def test_events_and_items_of_one_run_are_listed(hub: Hub, synced: Store) -> None:
    first, second = run_ids(synced)
    events = [
        sorted(
            event["subject"]
            for event in hub.call("GET", "/v1/events", "vera", params={"run": run_id, "latest": latest}).json()[
                "events"
            ]
        )
        for run_id in (first, second)
        for latest in (False, True)
    ]
    items = [
        [item["record_id"] for item in hub.call("GET", f"/v1/quarantine?run={run_id}", "vera").json()["items"]]
        for run_id in (first, second)
    ]

    assert events == [["inventory/a", "inventory/b"]] * 2 + [["inventory/a", "inventory/ü/c"]] * 2
    assert items == [[], ["d\t"]]


def test_silent_events_of_a_backfill_are_among_those_of_its_run(hub: Hub, synced: Store) -> None:
    _, second = run_ids(synced)
    query(synced, f"UPDATE event SET silent = true WHERE correlation_id = '{second}' RETURNING 1")

    found = hub.call("GET", "/v1/events", "vera", params={"run": second}).json()["events"]

    assert len(found) == 2


def test_the_key_of_a_customer_is_masked_in_the_rows_also_as_the_record_s_id(hub: Hub, synced: Store) -> None:
    first, _ = run_ids(synced)
    query(synced, f"UPDATE sync_run SET dataset = 'customers' WHERE run_id = '{first}' RETURNING 1")
    query(
        synced,
        f"""INSERT INTO customers (integration, id, version, email, addresses, created_at, last_modified_at, batch_id,
                                   inserted_by)
            SELECT 'commercetools', 'c-1', 1, 'ada@example.com', '[]', now(), now(), batch_id, batch_id
              FROM sync_batch WHERE run_id = '{first}' RETURNING 1""",
    )
    query(
        synced,
        f"""INSERT INTO deferred_record (integration, dataset, record_id, reason, first_run_id, last_run_id)
            VALUES ('commercetools', 'customers', 'Bob@example.com', 'locked', '{first}', '{first}') RETURNING 1""",
    )
    query(
        synced,
        """INSERT INTO customers (integration, id, version, email, addresses, created_at, last_modified_at, batch_id)
            VALUES ('commercetools', 'Bob@example.com', 1, 'bob@example.com', '[]', now(), now(), 0) RETURNING 1""",
    )
    found = rows(hub, first)["rows"]
    for table in ("customers", "deferred_record"):
        query(synced, f"DELETE FROM {table} RETURNING 1")

    assert [(row["record_id"], row["record_key"]) for row in found] == [("***", "***"), ("c-1", "***")]
