"""What is expected of every record of the platform, whatever it is of."""

from __future__ import annotations

from crossdock.sync.quarantine.model import Expectation


def source_rules(created_column: str) -> tuple[Expectation, ...]:
    """The rules of id, version and dates; *created_column* is where the entity keeps its creation."""
    return (
        Expectation(
            "id_is_well_formed",
            "expect_column_values_to_match_regex",
            {"column": "id", "regex": r"^[^\x00-\x1f\x7f]{1,256}$"},
            "the platform's ids have 1 to 256 printable characters; this record is not its own",
        ),
        Expectation(
            "version_is_positive",
            "expect_column_values_to_be_between",
            {"column": "version", "min_value": 1},
            "the platform counts versions from 1; this record is not its own",
        ),
        Expectation(
            "dates_are_in_order",
            "expect_column_pair_values_a_to_be_greater_than_b",
            {"column_A": "last_modified_at", "column_B": created_column, "or_equal": True},
            "a record is modified at or after its creation; correct the dates",
        ),
    )
