"""Validation of a batch's records: each is accepted, rejected with a reason, or a repeat of another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdock.core.errors import Terminal
from crossdock.sync.dataset import Columns
from crossdock.sync.validate_rows import validate_rows
from tests.streams import INVENTORY
from tests.sync.records import entry, page

#: A row for each expectation that breaks it and no other.
BREAKS_ONLY: dict[str, dict[str, Any]] = {
    "id_is_well_formed": {"id": "x" * 257},
    "sku_is_present": {"sku": ""},
    "sku_is_well_formed": {"sku": "SIDE\tBOARD"},
    "stock_is_plausible": {"quantityOnStock": 1_000_000_001},
    "available_is_plausible": {"availableQuantity": -1_000_000_001},
    "available_is_not_above_stock": {"quantityOnStock": 12, "availableQuantity": 13},
    "restock_days_are_not_negative": {"restockableInDays": -1},
    "version_is_positive": {"version": 0},
}


def test_a_clock_that_is_behind_only_warns() -> None:
    """Servers of one platform differ by a second; the record is as good as any."""
    result = validate_rows(INVENTORY, [page(entry(createdAt="2026-11-20T17:30:00.001Z"))])

    assert result.accepted_count == 1
    assert [(warned.rule, warned.records) for warned in result.warned] == [("dates_are_in_order", 1)]


@pytest.mark.parametrize(("rule", "changes"), BREAKS_ONLY.items(), ids=BREAKS_ONLY)
def test_a_row_that_breaks_one_rule_is_rejected_for_that_rule_alone(rule: str, changes: dict[str, Any]) -> None:
    """A person fixes what is named; nothing else may be named."""
    result = validate_rows(INVENTORY, [page(entry(id="before"), entry(**changes), entry(id="after"))])

    assert result.accepted.column("id").to_pylist() == ["before", "after"]
    (rejected,) = result.rejected
    assert [failure.rule for failure in rejected.failures] == [rule]


def test_every_expectation_has_a_row_that_breaks_only_it() -> None:
    """A rule that no test breaks may as well not be there."""
    rejecting = {rule.name for rule in INVENTORY.expectations if rule.level == "reject"}
    assert set(BREAKS_ONLY) == rejecting


@pytest.mark.parametrize(
    "changes",
    [
        {"quantityOnStock": 0, "availableQuantity": 0},
        {"quantityOnStock": 1_000_000_000, "availableQuantity": 1_000_000_000},
        {"availableQuantity": -5},
        {"restockableInDays": 0},
        {"restockableInDays": 9_999},
        {"quantityOnStock": -3, "availableQuantity": -3},
        {"sku": "x" * 256},
        {"sku": "Möbel 沙发 🛋"},
        {"sku": "  SIDEBOARD  "},
        {"id": "x" * 256},
        {"supplyChannel": None, "expectedDelivery": None},
        {"expectedDelivery": "2200-01-01T00:00:00.000Z"},
        {"expectedDelivery": "9999-12-31T23:59:59.999Z"},
        {"createdAt": "2026-11-20T17:30:00.000Z"},
    ],
    ids=str,
)
def test_what_a_merchant_can_use_passes(changes: dict[str, Any]) -> None:
    """The edges of what is right are right."""
    assert validate_rows(INVENTORY, [page(entry(**changes))]).rejected == ()


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_beyond_the_calendar_in_utc_is_rejected_alone(at: str) -> None:
    """It can be written to the batch's file and not be read back: the whole batch would never load."""
    result = validate_rows(INVENTORY, [page(entry(id="good"), entry(createdAt=at))])

    assert result.accepted_count == 1
    assert result.rejected[0].cause == "instant_is_on_the_calendar"


def test_a_text_that_no_index_holds_is_rejected_alone_whatever_the_rules_are() -> None:
    """A merchant may lower the rules of keys; the tables need their longest length all the same."""
    lowered = replace(INVENTORY, levels={"sku_is_well_formed": "off", "sku_is_present": "warn"})
    longest, longer = entry(id="longest", sku="x" * 512), entry(id="longer", sku="x" * 513)

    result = validate_rows(lowered, [page(longest, longer)])

    assert result.accepted.column("id").to_pylist() == ["longest"]
    assert [(one.rule, one.column) for one in result.rejected[0].failures] == [("text_fits_its_index", "sku")]


def test_a_record_that_the_mapping_cannot_take_is_rejected_alone() -> None:
    """Whatever it makes our code raise: the others are loaded, on a page with unreadable records too."""

    def mapping(records: Sequence[Any]) -> Columns:
        if any(record.sku == "BOOM" for record in records):
            raise ZeroDivisionError
        return INVENTORY.to_columns(records)

    pages = [
        page(entry(id="a"), entry(id="b", sku="BOOM"), entry(id="c", sku="")),
        page(entry(id="d", quantityOnStock="twelve"), entry(id="e", sku="BOOM"), entry(id="f"), entry(id="g", sku="")),
    ]
    result = validate_rows(replace(INVENTORY, to_columns=mapping), pages)

    assert result.accepted.column("id").to_pylist() == ["a", "f"]
    causes = {one.record_id: one.cause for one in result.rejected}
    assert causes == {
        "b": "record_can_be_mapped",
        "c": "sku_is_present",
        "d": "quantityOnStock_is_readable",
        "e": "record_can_be_mapped",
        "g": "sku_is_present",
    }
    assert {one.record_id for one in result.rejected} == {json.loads(one.raw)["id"] for one in result.rejected}


def test_an_error_of_the_hub_itself_is_no_fault_of_a_record() -> None:
    """A wrong setting would send a whole shop to quarantine."""

    def mapping(_: Sequence[Any]) -> Columns:
        raise Terminal("a setting is wrong")

    with pytest.raises(Terminal):
        validate_rows(replace(INVENTORY, to_columns=mapping), [page(entry())])


def test_of_a_record_that_comes_twice_the_newest_version_is_kept() -> None:
    """A source that is read while it changes shows a record twice."""
    pages = [page(entry(version=4, quantityOnStock=40), entry(version=5, quantityOnStock=50)), page(entry(version=4))]

    result = validate_rows(INVENTORY, pages)

    assert result.accepted.select(["version", "quantity_on_stock"]).to_pylist() == [
        {"version": 5, "quantity_on_stock": 50}
    ]
    assert (result.repeats.records.stale, result.repeats.records.unchanged) == (2, 0)


def test_the_same_version_twice_is_unchanged() -> None:
    result = validate_rows(INVENTORY, [page(entry(), entry())])

    assert (result.accepted_count, result.repeats.records.unchanged) == (1, 1)


def test_a_newer_version_that_fails_does_not_keep_the_older_one_out() -> None:
    """The hub keeps the last state that was right; the bad one waits for a person."""
    result = validate_rows(INVENTORY, [page(entry(version=4), entry(version=5, sku=""))])

    assert result.accepted.column("version").to_pylist() == [4]
    assert [record.version for record in result.rejected] == [5]


def test_a_rejected_record_is_kept_as_it_came() -> None:
    raw = entry(sku="", custom={"note": "from the fair"})

    assert validate_rows(INVENTORY, [page(entry(id="a")), page(entry(id="b"), raw)]).rejected[0].raw == raw


def test_a_batch_of_nothing_is_nothing() -> None:
    result = validate_rows(INVENTORY, [page()])

    assert (result.accepted_count, result.rejected) == (0, ())


kinds = st.sampled_from(
    [
        {},
        {"sku": ""},
        {"quantityOnStock": "twelve"},
        {"version": 0},
        {"availableQuantity": 9_999},
        {"custom": float("nan")},
        {"sku": "\x00"},
        {"expectedDelivery": "0001-01-01T00:00:00+14:00"},
    ]
)
entries = st.builds(
    lambda number, version, changes: entry(**{"id": f"entry-{number}", "version": version, **changes}),
    st.integers(0, 5),
    st.integers(1, 4),
    kinds,
)


@given(st.lists(st.lists(entries, max_size=8), max_size=4))
@settings(max_examples=max(40, settings.default.max_examples // 10))
def test_every_record_has_exactly_one_outcome_of_validation(batch: list[list[bytes]]) -> None:
    """What the ledger counts starts here."""
    result = validate_rows(INVENTORY, [page(*raws) for raws in batch])

    repeats = result.repeats.records.unchanged + result.repeats.records.stale
    assert result.accepted_count + len(result.rejected) + repeats == sum(len(raws) for raws in batch)
    ids = result.accepted.column("id").to_pylist()
    assert len(ids) == len(set(ids))
