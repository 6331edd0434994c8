"""Expectations of every record of a source, regardless of its dataset."""

from __future__ import annotations

from collections.abc import Iterable

from crossdock.core.printable import printable, well_formed
from crossdock.sync.dataset import LONGEST_INDEXED
from crossdock.sync.quarantine.model import Expectation, Level


def source_rules(created_column: str) -> tuple[Expectation, ...]:
    """Build the rules for id, version and dates; *created_column* has the creation date."""
    return (
        Expectation(
            "id_is_well_formed",
            "expect_column_values_to_match_regex",
            {"column": "id", "regex": well_formed(1, 256)},
            "An ID must have 1 to 256 printable characters. This record was not created by the source",
            required=True,
        ),
        Expectation(
            "version_is_positive",
            "expect_column_values_to_be_between",
            {"column": "version", "min_value": 1},
            "Versions count from 1. This record was not created by the source",
            required=True,
        ),
        Expectation(
            "dates_are_in_order",
            "expect_column_pair_values_a_to_be_greater_than_b",
            {"column_A": "last_modified_at", "column_B": created_column, "or_equal": True},
            "The last modification is before the creation: the clocks of the source differ",
            # Servers of one platform differ by seconds. Nothing that the hub does with a record depends on it.
            level="warn",
        ),
    )


def key_rule(column: str, what: str) -> Expectation:
    """Build the rule for the business key, by which people look up a record: printable, as it is in lists, logs and URLs."""
    return Expectation(
        f"{column}_is_well_formed",
        "expect_column_values_to_match_regex",
        # Whether it may be empty is another rule.
        {"column": column, "regex": well_formed(0, LONGEST_INDEXED)},
        f"{what} must have at most {LONGEST_INDEXED} characters, all of them printable. Correct it at the source",
    )


def none_listed(
    name: str, column: str, message: str, level: Level = "reject", *, required: bool = False
) -> Expectation:
    """Make a rule for a column that lists what breaks it, so that a person sees it. One bad part rejects the whole record."""
    arguments = {"column": column, "max_value": 0}
    return Expectation(name, "expect_column_value_lengths_to_be_between", arguments, message, level, required)


def listed(broken: Iterable[str]) -> str:
    """List what breaks a rule for `none_listed`, each once; the place is visible, and so is a control character in it."""
    found = dict.fromkeys(broken)
    return ", ".join(map(printable, found)) if found else ""
