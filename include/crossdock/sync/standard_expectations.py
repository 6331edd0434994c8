"""Expectations of every record of a source, regardless of its dataset."""

from __future__ import annotations

from crossdock.sync.quarantine.model import Expectation


def source_rules(created_column: str) -> tuple[Expectation, ...]:
    """Build the rules for id, version and dates; *created_column* has the creation date."""
    return (
        Expectation(
            "id_is_well_formed",
            "expect_column_values_to_match_regex",
            {"column": "id", "regex": r"^[^\x00-\x1f\x7f]{1,256}$"},
            "An ID must have 1 to 256 printable characters. This record was not created by the source",
        ),
        Expectation(
            "version_is_positive",
            "expect_column_values_to_be_between",
            {"column": "version", "min_value": 1},
            "Versions count from 1. This record was not created by the source",
        ),
        Expectation(
            "dates_are_in_order",
            "expect_column_pair_values_a_to_be_greater_than_b",
            {"column_A": "last_modified_at", "column_B": created_column, "or_equal": True},
            "The last modification must not be before the creation. Correct the dates",
        ),
    )
