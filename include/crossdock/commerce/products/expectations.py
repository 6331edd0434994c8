"""The expectations of products. The only place with these rules."""

from __future__ import annotations

from crossdock.sync.quarantine.model import Expectation
from crossdock.sync.standard_expectations import source_rules

EXPECTATIONS = (
    *source_rules("created_at"),
    Expectation(
        "key_is_present",
        "expect_column_value_lengths_to_be_between",
        {"column": "key", "min_value": 1, "max_value": 256},
        "A product key is required. Add it at the source",
    ),
    Expectation(
        "name_is_present",
        "expect_column_values_to_be_between",
        {"column": "names_given", "min_value": 1},
        "A product needs a name in at least one language. Add it at the source",
    ),
    Expectation(
        "variants_have_skus",
        "expect_column_values_to_be_between",
        {"column": "variants_without_sku", "max_value": 0},
        "Every variant needs a sku to be stocked and sold. Add it at the source",
    ),
    Expectation(
        "sku_is_well_formed",
        "expect_column_values_to_match_regex",
        {"column": "master_sku", "regex": r"^[^\x00-\x1f\x7f]{0,100}$"},
        "A sku must have 1 to 100 printable characters. Correct it at the source",
    ),
    Expectation(
        "prices_are_not_negative",
        "expect_column_values_to_be_between",
        {"column": "lowest_price_minor", "min_value": 0, "max_value": 100_000_000_000},
        "A price must be 0 or more and below a billion. Correct it at the source",
    ),
    Expectation(
        "currency_is_iso_4217",
        "expect_column_values_to_match_regex",
        {"column": "price_currency", "regex": "^[A-Z]{3}$"},
        "A currency must be three capital letters, e.g. EUR. Correct it at the source",
    ),
)
