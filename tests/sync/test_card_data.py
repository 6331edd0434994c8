"""Card numbers in the records of a source: removed before anything is stored, and the record is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from crossdock.core.card_data import MASK
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sync import Systems
from crossdock.sync.card_data import without_cards
from crossdock.sync.model import SyncRequest
from crossdock.sync.source import FetchedPage
from tests.shop import query
from tests.sync.test_inventory import run

CARD = "4111 1111 1111 1111"


def page(document: Any) -> FetchedPage:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return FetchedPage(body=body, records=1, cursor=None, last=True)


def test_a_page_without_card_data_stays_byte_for_byte() -> None:
    body = b'{ "results": [ {"id": "1", "sku": "4006381333931", "price": 1.50, "at": "2026-11-29T12:00:00.000Z"} ] }'

    assert without_cards(page(body)) is body


def test_only_the_field_with_the_card_is_removed() -> None:
    results = {"results": [{"id": "1", "note": f"paid with {CARD}"}, {"id": "2", "sku": "4111111111111111"}]}

    assert json.loads(without_cards(page(results)))["results"] == [
        {"id": "1", "note": MASK},
        {"id": "2", "sku": "4111111111111111"},
    ]


def test_a_value_that_a_reader_drops_does_not_land_either() -> None:
    """Of a name that comes twice the last value counts, and the page on disk would have both."""
    assert json.loads(without_cards(page(b'{"note": "4111111111111111", "note": "x"}'))) == {"note": "x"}
    assert b"1111" not in without_cards(page(b'{"note": "4111111111111111", "note": "x"}'))


@pytest.mark.parametrize("body", [b'{"note": "4111111111111111', b"4111 1111 1111 1111 <html>"])
def test_what_is_no_json_lands_without_the_number(body: bytes) -> None:
    """It is refused later, and must not be on disk until then."""
    assert b"1111" not in without_cards(page(body))


def test_a_record_with_a_card_is_loaded_without_it_and_the_run_says_so(
    shop: FakeRetailer, systems: Systems, tmp_path: Path
) -> None:
    row = next(iter(shop.state.collection("inventory").rows())).document
    comment = {"fields": {"comment": f"customer's card: {CARD}"}}
    shop.state.change("inventory", row["id"], lambda document: document.update(custom=comment))

    run(systems, SyncRequest(full=True))

    landed = [
        zstandard.ZstdDecompressor().decompress(each.read_bytes()) for each in (tmp_path / "landing").rglob("page-*")
    ]
    assert landed
    assert not [body for body in landed if b"1111 1111" in body]
    ((warnings,),) = query(systems.store, "SELECT warnings FROM sync_run")
    ((rule, records, examples),) = [(each["rule"], each["records"], each["examples"]) for each in warnings]
    assert (rule, records, examples) == ("has_no_card_data", 1, [row["id"]])
