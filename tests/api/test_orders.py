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


def test_an_order_that_is_not_there_is_not_found(hub: Hub) -> None:
    assert hub.call("GET", f"/v1/orders/ord_{'0' * 32}", "vera").status_code == 404
