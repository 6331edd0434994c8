"""The vendor's own example documents: each order and customer loads, each cart adds up, drafts and updates are refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from crossdock.connectors.commercetools import KIND
from crossdock.connectors.commercetools.customers import CUSTOMERS
from crossdock.sync.stream import Stream
from crossdock.sync.validate_rows import validate_rows
from tests.streams import ORDERS


@pytest.fixture(scope="module")
def examples() -> Path:
    folder = os.environ.get("HUB_VENDOR_SPECS")
    if not folder or not Path(folder, "examples").is_dir():
        pytest.skip("the vendor's examples are not part of the project: see docs/concepts/third-parties.md")
    return Path(folder, "examples")


def judged(examples: Path, name: str, stream: Stream, **more: Any) -> tuple[int, list[str]]:
    """How many records of the file are accepted, and the rules that refuse the others."""
    document = json.loads((examples / name).read_text())
    records = [{**more, **record} for record in document.get("results", [document])]
    content = validate_rows(stream, [json.dumps({"count": len(records), "results": records}).encode()])
    return content.accepted_count, [failure.rule for one in content.rejected for failure in one.failures]


@pytest.mark.parametrize(("name", "count"), [("order.json", 1), ("orders.json", 1), ("order-import-create.json", 1)])
def test_an_order_of_the_vendors_documentation_is_accepted(examples: Path, name: str, count: int) -> None:
    """One of them has no line items, and one custom line."""
    assert judged(examples, name, ORDERS) == (count, [])


@pytest.mark.parametrize(("name", "count"), [("b2b-cart.json", 1), ("carts.json", 2)])
def test_a_cart_of_the_vendors_documentation_adds_up(examples: Path, name: str, count: int) -> None:
    """An order has the sums of its cart."""
    assert judged(examples, name, ORDERS, orderState="Open") == (count, [])


def test_an_empty_cart_is_no_order(examples: Path) -> None:
    assert judged(examples, "cart.json", ORDERS, orderState="Open") == (0, ["order_has_lines"])


@pytest.mark.parametrize(("name", "count"), [("customer.json", 1), ("customers.json", 1)])
def test_a_customer_of_the_vendors_documentation_is_accepted(examples: Path, name: str, count: int) -> None:
    assert judged(examples, name, CUSTOMERS.of(KIND)) == (count, [])


@pytest.mark.parametrize(
    "name",
    [
        "order-create.json",
        "order-edits.json",
        "order-import.json",
        "order-update.json",
        "cart-create.json",
        "payment.json",
        "customer.json",
    ],
)
def test_what_is_no_order_is_refused_as_one(examples: Path, name: str) -> None:
    """Drafts, update requests and other resources: a wrong path of a proxy must not fill the tables."""
    accepted, rules = judged(examples, name, ORDERS)
    assert accepted == 0
    assert rules
