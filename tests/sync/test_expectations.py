"""Great Expectations against the same rules written out by hand, nulls included."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa  # noqa: TID253  a test, not a DAG file
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdock.commerce.datasets import datasets
from crossdock.connectors.declarative.streams import RECORD_RULES
from crossdock.sync.expectations import SuiteBroken, check
from crossdock.sync.quarantine.model import Expectation

Row = tuple[int | None, int | None, str | None]


def rule(name: str, kind: str, **arguments: Any) -> Expectation:
    return Expectation(name, kind, arguments, f"{name}: correct it")


#: Each rule, and what it says of a row when written out. A null keeps every rule but that of being there.
RULES: tuple[tuple[Expectation, Callable[[Row], bool]], ...] = (
    (
        rule("a_in_bounds", "expect_column_values_to_be_between", column="a", min_value=-3, max_value=5),
        lambda row: row[0] is None or -3 <= row[0] <= 5,
    ),
    (
        rule("a_at_least", "expect_column_values_to_be_between", column="a", min_value=-4),
        lambda row: row[0] is None or row[0] >= -4,
    ),
    (rule("b_is_there", "expect_column_values_to_not_be_null", column="b"), lambda row: row[1] is not None),
    (
        rule(
            "a_not_below_b",
            "expect_column_pair_values_a_to_be_greater_than_b",
            column_A="a",
            column_B="b",
            or_equal=True,
            ignore_row_if="either_value_is_missing",
        ),
        lambda row: row[0] is None or row[1] is None or row[0] >= row[1],
    ),
    (
        rule("text_has_length", "expect_column_value_lengths_to_be_between", column="text", min_value=1, max_value=3),
        lambda row: row[2] is None or 1 <= len(row[2]) <= 3,
    ),
    (
        rule("text_is_lower", "expect_column_values_to_match_regex", column="text", regex="^[a-c]*$"),
        lambda row: row[2] is None or re.match("^[a-c]*$", row[2]) is not None,
    ),
    (
        rule("text_is_known", "expect_column_values_to_be_in_set", column="text", value_set=["", "a", "bb", "ABC"]),
        lambda row: row[2] is None or row[2] in {"", "a", "bb", "ABC"},
    ),
)
EXPECTATIONS = tuple(expectation for expectation, _ in RULES)

small = st.none() | st.integers(-6, 8)
texts = st.none() | st.text("abcABC", max_size=4)


def table(rows: list[Row]) -> pa.Table:
    a, b, text = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table({"a": pa.array(a, pa.int64()), "b": pa.array(b, pa.int64()), "text": pa.array(text, pa.string())})


@given(st.lists(st.tuples(small, small, texts), max_size=12))
@settings(max_examples=max(40, settings.default.max_examples // 10))
def test_each_row_fails_exactly_the_rules_it_breaks(rows: list[Row]) -> None:
    """No good row is kept out, and no bad one comes in."""
    found = check(table(rows), EXPECTATIONS)

    assert {row_no: {failure.rule for failure in failures} for row_no, failures in found.items()} == {
        row_no: broken
        for row_no, row in enumerate(rows)
        if (broken := {expectation.name for expectation, holds in RULES if not holds(row)})
    }


def test_a_failure_says_what_failed_with_which_value_and_what_to_do() -> None:
    found = check(table([(1, 2, "a"), (9, None, "x" * 200)]), EXPECTATIONS)

    failures = {failure.rule: failure for failure in found[1]}
    assert failures["a_in_bounds"].value == "9"
    assert failures["b_is_there"].value == "None"
    assert failures["text_has_length"].value == "x" * 80
    assert failures["a_in_bounds"].message == "a_in_bounds: correct it"
    (pair,) = found[0]
    assert (pair.column, pair.value) == ("a, b", "1, 2")


def test_a_batch_of_twenty_thousand_rows_names_each_bad_one() -> None:
    """Row numbers count through the whole batch."""
    rows: list[Row] = [(0, 0, "a")] * 20_000
    bad = [0, 1, 9_999, 10_000, 19_999]
    for row_no in bad:
        rows[row_no] = (6, 0, "a")

    found = check(table(rows), EXPECTATIONS)

    assert sorted(found) == bad


def test_no_rows_and_no_rules_fail_nothing() -> None:
    assert check(table([]), EXPECTATIONS) == {}
    assert check(table([(1, 2, "a")]), ()) == {}


def test_two_rules_of_one_kind_on_one_column_are_both_checked() -> None:
    """Great Expectations alone would keep only the second."""
    low = rule("not_low", "expect_column_values_to_be_between", column="a", min_value=0)
    high = rule("not_high", "expect_column_values_to_be_between", column="a", max_value=5)

    found = check(table([(-1, 0, "a"), (6, 0, "a")]), (low, high))

    assert [found[row_no][0].rule for row_no in (0, 1)] == ["not_low", "not_high"]


@pytest.mark.parametrize(
    "broken",
    [
        rule("r", "expect_column_values_to_be_between", column="nowhere", min_value=0),
        rule("r", "expect_column_values_to_be_wonderful", column="a"),
        rule("r", "expect_column_values_to_be_between", column="a"),
        rule("r", "expect_column_values_to_be_between", column="a", least=0),
        rule("r", "expect_column_values_to_be_between", column="a", min_value="zero"),
        rule("r", "expect_column_values_to_match_regex", column="text", regex="("),
        rule("r", "expect_column_mean_to_be_between", column="a", min_value=99),
        rule("r", "expect_table_row_count_to_equal", value=99),
    ],
    ids=lambda broken: f"{broken.type}({', '.join(map(str, broken.arguments.values()))})",
)
def test_a_rule_that_is_declared_wrongly_stops_everything(broken: Expectation) -> None:
    """A rule that cannot be checked must neither pass all rows nor fail them."""
    good = rule("good", "expect_column_values_to_be_between", column="a", min_value=0)

    with pytest.raises(SuiteBroken):
        check(table([(1, 2, "a")]), (good, broken))


def test_two_rules_with_one_name_are_refused() -> None:
    """The result of one would count for both."""
    with pytest.raises(SuiteBroken, match="b_is_there"):
        check(table([(1, None, "a")]), (EXPECTATIONS[2], EXPECTATIONS[2]))


def test_a_pair_of_which_one_is_missing_passes_and_the_others_are_still_checked() -> None:
    """A record without its creation date once broke the check of its whole batch."""
    in_order = Expectation(
        "in_order",
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "a", "column_B": "b", "or_equal": True},
        "",
    )
    assert list(check(table([(1, None, ""), (None, 2, ""), (3, 2, ""), (1, 2, "")]), (in_order,))) == [3]


PATTERNS = {
    f"{dataset}-{one.name}": one.arguments["regex"]
    for dataset, rules in [
        *((name, found.expectations) for name, found in datasets().items()),
        ("declared", RECORD_RULES),
    ]
    for one in rules
    if "regex" in one.arguments
}


@pytest.mark.parametrize("name", PATTERNS)
def test_a_final_line_feed_breaks_the_pattern_of_a_rule(name: str) -> None:
    """Python's `$` lets one pass, and then it breaks every list that shows the value."""
    value = "ada@example.com"
    assert re.match(PATTERNS[name], value)
    assert not re.match(PATTERNS[name], value + "\n")
