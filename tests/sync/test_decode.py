"""One bad record goes to quarantine alone, whole and with its reason; a page that is none fails loudly."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.connectors.commercetools.inventory import InventoryEntry
from crossdock.sync.decode import DecodedPage, PageUnreadable, decoded, rejection
from crossdock.sync.quarantine.model import Failure
from crossdock.sync.quarantine.service import readable
from tests.sync.records import SIDEBOARD, entry, page


def read(body: bytes) -> DecodedPage:
    return decoded(body, InventoryEntry, "sku")


def spoilt(good: bytes, bad: bytes, **changes: object) -> bytes:
    """An entry with bytes in it that no encoder writes."""
    raw = entry(id="bad", **changes)
    assert good in raw
    return raw.replace(good, bad, 1)


BAD = {
    "text for a number": (entry(id="bad", quantityOnStock="12"), "quantityOnStock_is_readable"),
    "a fraction of a unit": (entry(id="bad", quantityOnStock=1.5), "quantityOnStock_is_readable"),
    "true for a version": (entry(id="bad", version=True), "version_is_readable"),
    "a number for text": (entry(id="bad", sku=17), "sku_is_readable"),
    "a list for an object": (entry(id="bad", supplyChannel=[]), "supplyChannel_is_readable"),
    "a reference without an id": (entry(id="bad", supplyChannel={}), "supplyChannel_is_readable"),
    "a missing number": (entry(id="bad", availableQuantity=None), "record_is_readable"),
    "a missing id": (entry(id=None), "record_is_readable"),
    "null for an id": (spoilt(b'"bad"', b"null"), "id_is_readable"),
    "a number for an id": (spoilt(b'"bad"', b"4711"), "id_is_readable"),
    "NaN": (entry(id="bad", quantityOnStock=float("nan")), "number_is_finite"),
    "Infinity": (entry(id="bad", quantityOnStock=float("inf")), "number_is_finite"),
    "minus Infinity": (entry(id="bad", quantityOnStock=float("-inf")), "number_is_finite"),
    "NaN where nobody reads": (entry(id="bad", custom={"weight": float("nan")}), "number_is_finite"),
    "1e999": (spoilt(b'"version": 3', b'"version": 1e999'), "number_is_finite"),
    "an integer beyond 64 bits": (entry(id="bad", quantityOnStock=2**63), "quantityOnStock_is_readable"),
    "an integer far below": (entry(id="bad", quantityOnStock=-(10**30)), "quantityOnStock_is_readable"),
    "an integer of 5,000 digits": (spoilt(b'"version": 3', b'"version": ' + b"9" * 5_000), "number_is_finite"),
    "NUL as an escape": (entry(id="bad", sku="SIDE\x00BOARD"), "text_is_storable"),
    "NUL as a byte": (spoilt(b"SIDE", b"SI\x00DE"), "text_is_storable"),
    "NUL in a name": (entry(id="bad", custom={"coun\x00try": "DE"}), "text_is_storable"),
    "NUL in a name with nothing inside": (entry(id="bad", custom={"a": {"coun\x00try": {}}}), "text_is_storable"),
    "NUL in a name of a list": (entry(id="bad", custom=[{"coun\x00try": []}]), "text_is_storable"),
    "NUL in a name too": (entry(id="bad", **{"k\x00ey": "\x00"}), "text_is_storable"),
    "half a surrogate pair": (entry(id="bad", sku="SIDEBOARD \ud83d"), "text_is_storable"),
    "the other half": (entry(id="bad", sku="\udca9 SIDEBOARD"), "text_is_storable"),
    "half a pair in a name too": (entry(id="bad", **{"k\ud800ey": "\ud800"}), "text_is_storable"),
    "half a pair as bytes": (spoilt(b"SIDE", b"\xed\xa0\x80"), "text_is_storable"),
    "bytes that are no UTF-8": (spoilt(b"SIDE", b"\xff\xfe"), "text_is_storable"),
    "a date that is none": (entry(id="bad", createdAt="yesterday"), "createdAt_is_readable"),
    "the 30th of February": (entry(id="bad", createdAt="2026-02-30T08:00:00Z"), "createdAt_is_readable"),
    "a date without a zone": (entry(id="bad", createdAt="2026-03-01T08:00:00"), "createdAt_is_readable"),
    "a number for a date": (entry(id="bad", createdAt=1_772_000_000), "createdAt_is_readable"),
    "null": (b"null", "record_is_readable"),
    "a number": (b"4711", "record_is_readable"),
    "text": (b'"SIDEBOARD"', "record_is_readable"),
    "a list": (b"[1, 2]", "record_is_readable"),
}


@pytest.mark.parametrize(("raw", "rule"), BAD.values(), ids=BAD)
def test_a_bad_record_is_rejected_alone(raw: bytes, rule: str) -> None:
    """499 good stock levels must not wait for the one that is not."""
    body = page(entry(id="before"), raw, entry(id="after"))

    result = read(body)

    assert [record.id for record in result.records] == ["before", "after"]
    assert [json.loads(kept)["id"] for kept in result.raws()] == ["before", "after"]
    (rejected,) = result.rejected
    assert rejected.cause == rule
    assert rejected.failures[0].message


@pytest.mark.parametrize("raw", [raw for raw, _ in BAD.values()], ids=BAD)
def test_a_quarantined_record_can_be_stored_and_read_again(raw: bytes) -> None:
    """A person has to see it, fix it and replay it."""
    (rejected,) = read(page(entry(id="before"), raw)).rejected

    json.dumps(readable(rejected.raw)).encode()
    assert type(rejected.version) is int
    assert -(2**63) <= rejected.version < 2**63
    for text in (rejected.record_id, rejected.record_key or "", *_texts(rejected.failures)):
        assert "\x00" not in text
        text.encode()
    again = read(page(rejected.raw)).rejected
    assert [record.cause for record in again] == [rejected.cause]


def _texts(failures: object) -> list[str]:
    return [text for failure in failures for text in (failure.rule, failure.column, failure.message, failure.value)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("raw", [raw for raw, _ in BAD.values()], ids=BAD)
def test_a_bad_record_is_known_by_the_same_id_on_whatever_page_it_comes(raw: bytes) -> None:
    """One item in quarantine for each version, however often it is read."""
    alone = read(page(raw)).rejected[0]
    in_company = read(page(entry(id="a"), raw, entry(id="z", custom=float("nan")))).rejected[0]

    assert (alone.record_id, alone.version) == (in_company.record_id, in_company.version)


def test_two_records_without_an_id_are_distinguished() -> None:
    one, other = read(page(entry(id=None), entry(id=None, sku="SHELF"))).rejected

    assert one.record_id != other.record_id


def test_an_id_that_no_index_can_hold_is_replaced_by_a_digest() -> None:
    """It would stop the whole batch from being committed."""
    (rejected,) = read(page(entry(id="x" * 5_000, quantityOnStock="twelve"))).rejected

    assert len(rejected.record_id) == 32


BODIES = [
    b"",
    b"\xff\xff",
    b"null",
    b"[]",
    b'"results"',
    b"{}",
    b'{"results":null}',
    b'{"results":{}}',
    b'{"results":17}',
    b'{"results":"none"}',
    b'{"results":[',
    b"<html>login</html>",
    b'{"results":[]} {"results":[]}',
    b'{"results":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_page_that_is_no_page_is_refused(body: bytes) -> None:
    """Never "0 rows, success"."""
    with pytest.raises(PageUnreadable):
        read(body)


def test_an_empty_page_is_a_page() -> None:
    assert read(page()).records == []


def test_a_byte_order_mark_before_a_page_means_nothing() -> None:
    assert len(read(b"\xef\xbb\xbf" + page(entry())).records) == 1


@given(st.lists(st.booleans(), max_size=12), st.sampled_from(sorted(BAD)))
def test_every_record_of_a_page_is_either_read_or_rejected(pattern: list[bool], kind: str) -> None:
    raws = [entry(id=f"good-{number}") if good else BAD[kind][0] for number, good in enumerate(pattern)]

    result = read(page(*raws))

    assert len(result.records) == len(result.raws()) == sum(pattern)
    assert len(result.rejected) == len(pattern) - sum(pattern)


def test_a_good_entry_keeps_every_field() -> None:
    (record,) = read(page(entry())).records

    assert (record.id, record.version, record.sku) == (SIDEBOARD["id"], 3, "SIDEBOARD-OAK-01")
    assert (record.quantity_on_stock, record.available_quantity) == (12, 9)
    assert record.supply_channel.id == "munich"


def test_a_rejected_record_of_a_source_without_a_business_key_is_known_by_its_id() -> None:
    """A declared source may have no other: the first record that broke a rule once failed the whole run."""
    failure = Failure(rule="is_wrong", column="x", message="", value="")
    record = rejection(b'{"id": "a", "version": 3}', (failure,), "id")
    assert (record.record_id, record.record_key, record.version) == ("a", "a", 3)
