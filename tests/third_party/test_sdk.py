"""The vendor's own Python SDK on our sandbox: what it cannot read, no real client could."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from crossdock.sandbox.commercetools.retailer import FakeRetailer
from tests.third_party.installs import HERE, sdk_python

#: It needs PyPI and, at first, a minute of installing: one worker installs.
pytestmark = [pytest.mark.deep, pytest.mark.xdist_group("third_party")]

PATHS = {"inventory": "inventory", "product_projections": "product-projections", "orders": "orders"}


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """What the SDK was answered by a shop without flaws, and the shop's own ids beside it."""
    python = sdk_python()
    with FakeRetailer(seed=7, inventory=30, products=15, orders=15, customers=5, flaws=0) as shop:
        # The API knows a cancelled shipment; this SDK does not, and refuses the whole page.
        for row in shop.state.collection("orders").rows():
            if row.document.get("shipmentState") == "Canceled":
                shop.state.change("orders", row.id, lambda order: order.update(shipmentState="Pending"))
        # Projections are those of published products, unless staged ones are asked for.
        ids = {
            name: [row.id for row in shop.state.collection(path).rows() if row.document.get("published", True)]
            for name, path in PATHS.items()
        }
        answers = _calls(python, shop)
    return {**answers, "in the shop": ids}


def _calls(python: Path, shop: FakeRetailer) -> dict[str, Any]:
    ended = subprocess.run(
        [
            str(python),
            "-W",
            "error:Unhandled status code",
            str(HERE / "sdk" / "calls.py"),
            shop.url,
            shop.client_id,
            shop.project,
        ],
        env={"PATH": os.defpath, "SANDBOX_CLIENT_SECRET": shop.client_secret},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    document: dict[str, Any] = json.loads(ended.stdout)
    return document


@pytest.mark.parametrize("resource", PATHS)
def test_the_sdk_reads_every_record_page_by_page(answers: dict[str, Any], resource: str) -> None:
    """where, sort, limit and withTotal, as the flows ask them; the token came first."""
    read = answers[resource]

    assert read["ids"] == sorted(answers["in the shop"][resource])
    assert read["total"] == len(read["ids"])


@pytest.mark.parametrize("resource", PATHS)
def test_the_sdk_reads_what_changed_and_one_by_its_id(answers: dict[str, Any], resource: str) -> None:
    """The predicate of a delta, and the reading of a single record; one that is not there is None to it."""
    read = answers[resource]

    assert read["newest"] in read["since"]
    assert read["by id"] == [read["newest"], read["version"]]
    assert read["unknown"]


def test_the_sdk_understands_a_conflict_and_a_refusal(answers: dict[str, Any]) -> None:
    """409 with the vendor's code is what a writer decides by."""
    assert answers["updated"] == [answers["inventory"]["version"] + 1, 41]
    assert answers["conflict"] == [409, ["ConcurrentModification"]]
    assert answers["too large a page"][0] == 400
