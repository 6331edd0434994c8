"""What a merchant expects of a product. The one place where these rules are written."""

from __future__ import annotations

from crossdock.sync.quarantine.model import Expectation
from crossdock.sync.standard_expectations import source_rules

EXPECTATIONS = (
    *source_rules("created_at"),
    Expectation(
        "key_is_present",
        "expect_column_value_lengths_to_be_between",
        {"column": "key", "min_value": 1, "max_value": 256},
        "a product is known by its key; give it one",
    ),
    Expectation(
        "name_is_present",
        "expect_column_values_to_be_between",
        {"column": "names_given", "min_value": 1},
        "no customer buys what has no name; give it one in at least one language",
    ),
    Expectation(
        "variants_have_skus",
        "expect_column_values_to_be_between",
        {"column": "variants_without_sku", "max_value": 0},
        "a variant without a sku cannot be stocked or sold; give it its sku",
    ),
    Expectation(
        "sku_is_well_formed",
        "expect_column_values_to_match_regex",
        {"column": "master_sku", "regex": r"^[^\x00-\x1f\x7f]{0,100}$"},
        "a sku has 1 to 100 printable characters; correct the sku",
    ),
    Expectation(
        "prices_are_not_negative",
        "expect_column_values_to_be_between",
        {"column": "lowest_price_minor", "min_value": 0, "max_value": 100_000_000_000},
        "a price is 0 or more, and below a billion; correct it",
    ),
    Expectation(
        "currency_is_iso_4217",
        "expect_column_values_to_match_regex",
        {"column": "price_currency", "regex": "^[A-Z]{3}$"},
        "a currency is three capital letters, as EUR; correct it",
    ),
)
