"""Orders over REST: placed once, seen by their roles, cancelled with a reason."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import requests

from tests.api.conftest import Hub

BODY = {
    "currency": "EUR",
    "email": "ada@example.com",
    "customer_name": "Ada Lovelace",
    "payment_method": "pm_card_visa",
    "lines": [{"sku": "mug", "quantity": 2, "price_minor": 1250}],
}


def place(hub: Hub, name: str = "uma", *, key: str | None = None, **fields: Any) -> requests.Response:
    body = {"reference": f"w-{uuid.uuid4().hex[:12]}", **BODY, **fields}
    return hub.call("POST", "/v1/orders", name, json=body, headers={"Idempotency-Key": key} if key else {})


def test_an_order_is_taken_with_its_id_and_place(hub: Hub) -> None:
    answer = place(hub)
    order = answer.json()

    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/hub/v1/orders/{order['order_id']}"
    assert (order["state"], order["total_minor"], order["progress"]) == ("open", 2_500, "running")


def test_the_same_key_and_the_same_reference_are_the_same_order(hub: Hub) -> None:
    reference = f"w-{uuid.uuid4().hex[:12]}"
    first = place(hub, reference=reference, key="one-key-" + reference).json()["order_id"]

    assert place(hub, reference=reference, key="one-key-" + reference).json()["order_id"] == first
    assert place(hub, reference=reference).json()["order_id"] == first
    assert place(hub, reference=reference, country="DE").status_code == 409


def test_the_customer_is_masked_for_all_but_operators_of_one_order(hub: Hub) -> None:
    order_id = place(hub).json()["order_id"]
    seen = {name: hub.call("GET", f"/v1/orders/{order_id}", name).json()["email"] for name in ("vera", "uma", "otto")}
    listed = hub.call("GET", "/v1/orders", "otto").json()["orders"]

    assert seen == {"vera": "***", "uma": "***", "otto": "ada@example.com"}
    assert {order["email"] for order in listed} == {"***"}
    assert place(hub).json()["email"] == "***"


@pytest.mark.parametrize(
    "fields",
    [
        {"lines": []},
        {"lines": [{"sku": "mug", "quantity": 0, "price_minor": 1}]},
        {"lines": [{"sku": "mug", "quantity": 1, "price_minor": 0}]},
        {"currency": "XXX"},
        {"payment_method": None},
        {"email": "nobody"},
        {"payment_method": "4242424242424242"},
        {"lines": [{"sku": "mug", "quantity": 1, "price_minor": 1, "name": "4111 1111 1111 1111"}]},
    ],
)
def test_what_can_be_no_order_is_refused_and_not_kept(hub: Hub, fields: dict[str, Any]) -> None:
    reference = f"w-{uuid.uuid4().hex[:12]}"

    assert place(hub, reference=reference, **fields).status_code in (400, 422)
    assert hub.call("GET", f"/v1/orders?reference={reference}", "vera").json()["orders"] == []


def test_a_cancelled_order_says_why_and_only_operators_cancel(hub: Hub) -> None:
    order_id = place(hub).json()["order_id"]
    path = f"/v1/orders/{order_id}/cancel"

    assert hub.call("POST", path, "uma", json={"reason": "r"}).status_code == 403
    assert hub.call("POST", path, "otto", json={"reason": "the customer called"}).status_code == 200
    assert hub.call("POST", f"/v1/orders/{order_id}/retry", "otto", json={"reason": "r"}).status_code == 409


def test_the_own_words_of_who_cancelled_are_for_operators_and_who_it_was_for_all(hub: Hub) -> None:
    """A person may write of a customer. Who cancelled, and when, everybody sees."""
    order_id = place(hub).json()["order_id"]
    words = "Ada Lovelace called from 030 123"
    hub.call("POST", f"/v1/orders/{order_id}/cancel", "otto", json={"reason": words})
    shown = {name: hub.call("GET", f"/v1/orders/{order_id}", name) for name in ("vera", "uma", "dora", "otto", "admin")}
    trail = hub.call("GET", f"/v1/audit?subject=journey/order/{order_id}&act=personal_data.reveal", "vera").json()

    assert {name: answer.json()["reason_given"] for name, answer in shown.items()} == {
        **dict.fromkeys(("vera", "uma", "dora"), "***"),
        **dict.fromkeys(("otto", "admin"), words),
    }
    for path in (f"orders/{order_id}", "orders?limit=500", f"journeys/order/{order_id}", "audit?limit=50"):
        answer = hub.call("GET", f"/v1/{path}", "vera")
        assert answer.status_code == 200
        assert words not in answer.text, path
    assert trail["entries"] == []


def test_what_drives_an_order_is_decided_when_it_is_placed(hub: Hub) -> None:
    """By default its events; the DAG has a run of its own for it, under a name that is made from the order's."""
    by_events, by_dag = place(hub).json(), place(hub, driver="dag").json()
    again = place(hub, reference=by_dag["reference"]).json()

    assert (by_events["driver"], by_events["dag_run_id"]) == ("events", None)
    assert (by_dag["driver"], by_dag["dag_run_id"]) == ("dag", f"order__{by_dag['order_id']}")
    assert (again["order_id"], again["driver"]) == (by_dag["order_id"], "dag")
    assert place(hub, driver="nobody").status_code == 400


def test_an_order_that_is_not_there_is_not_found(hub: Hub) -> None:
    assert hub.call("GET", f"/v1/orders/ord_{'0' * 32}", "vera").status_code == 404
