"""Journeys over REST: for whom they are masked, how they are paged, and what is answered where there is nothing."""

from __future__ import annotations

from urllib.parse import quote

from tests.api.conftest import Hub
from tests.api.test_orders import place
from tests.shop import query


def test_the_customer_of_an_order_is_shown_to_operators_alone_and_that_is_audited(hub: Hub) -> None:
    order_id = place(hub).json()["order_id"]
    path = f"/v1/journeys/order/{order_id}"
    seen = {
        name: hub.call("GET", path, name).json()["entries"][0]["detail"]["email"] for name in ("vera", "dora", "otto")
    }
    with hub.store() as store:
        revealed = query(store, "SELECT actor FROM audit_entry WHERE subject = %s", f"journey/order/{order_id}")

    assert seen == {"vera": "***", "dora": "***", "otto": "ada@example.com"}
    assert revealed == [("airflow:otto",)]


def test_what_a_person_wrote_about_an_order_is_shown_to_operators_alone(hub: Hub) -> None:
    order_id = place(hub).json()["order_id"]
    hub.call("POST", f"/v1/orders/{order_id}/cancel", "otto", json={"reason": "Ada called"})
    for name, shown in (("vera", "***"), ("otto", "Ada called")):
        entries = hub.call("GET", f"/v1/journeys/order/{order_id}", name).json()["entries"]
        (act,) = [entry for entry in entries if entry["name"] == "execution.cancel"]

        assert act["detail"]["reason"] == shown


def test_a_journey_has_the_same_entries_page_by_page(hub: Hub) -> None:
    order_id = place(hub).json()["order_id"]
    whole = hub.call("GET", f"/v1/journeys/order/{order_id}", "vera").json()
    read, cursor = [], ""
    while cursor is not None:
        page = hub.call("GET", f"/v1/journeys/order/{order_id}?limit=1{cursor and f'&cursor={cursor}'}", "vera").json()
        read += page["entries"]
        cursor = page["next_cursor"]

    assert len(read) > 2
    assert read == whole["entries"]
    assert [entry["after_s"] for entry in read] == sorted(entry["after_s"] for entry in read)


def test_an_address_is_in_no_answer_for_a_viewer_and_in_no_audit_entry(hub: Hub) -> None:
    place(hub, email="grace@example.com")
    path = f"/v1/journeys/customer/{quote('grace@example.com')}"

    assert "grace" not in hub.call("GET", path, "vera").text
    assert hub.call("GET", path, "otto").json()["key"] == "grace@example.com"
    with hub.store() as store:
        assert query(store, "SELECT count(*) FROM audit_entry WHERE subject LIKE '%%grace%%'") == [(0,)]


def test_a_sku_with_a_slash_has_a_journey(hub: Hub) -> None:
    with hub.store() as store:
        query(
            store,
            "INSERT INTO event (source, type, subject, time, partition_key, data)"
            " VALUES ('shop', 'crossdock.stock.changed', 'i', now(), 'mug/red', '{}') RETURNING 1",
        )

    answer = hub.call("GET", f"/v1/journeys/sku/{quote('mug/red', safe='')}", "vera").json()
    assert [entry["name"] for entry in answer["entries"]] == ["crossdock.stock.changed"]


def test_what_is_not_there_is_not_found_and_says_what_to_try(hub: Hub) -> None:
    order = hub.call("GET", "/v1/journeys/order/none", "vera")
    customer = hub.call("GET", "/v1/journeys/customer/nobody@example.com", "vera")

    assert (order.status_code, customer.status_code) == (404, 404)
    assert "your own reference" in order.json()["detail"]
    assert "since" in customer.json()["detail"]
    assert "nobody" not in customer.text.replace(customer.json().get("instance") or "-", "")
