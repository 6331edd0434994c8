"""The rules that every standalone price must pass. A product's own prices are checked with the product."""

from __future__ import annotations

from crossdock.commerce.skus import WELL_FORMED
from crossdock.core.money import CURRENCIES
from crossdock.sync.quarantine.model import Expectation
from crossdock.sync.standard_expectations import none_listed, source_rules

EXPECTATIONS = (
    *source_rules("created_at"),
    Expectation(
        "sku_is_present",
        "expect_column_value_lengths_to_be_between",
        {"column": "sku", "min_value": 1},
        "A price must name the SKU that it is for. Add it at the source",
    ),
    Expectation(
        "sku_is_well_formed",
        "expect_column_values_to_match_regex",
        {"column": "sku", "regex": WELL_FORMED},
        "A SKU must have at most 256 characters, all of them printable. Correct it at the source",
    ),
    Expectation(
        "currency_is_iso_4217",
        "expect_column_values_to_be_in_set",
        {"column": "currency", "value_set": sorted(CURRENCIES)},
        "A currency must be one of ISO 4217, e.g. EUR. Correct it at the source",
        required=True,
    ),
    none_listed(
        "prices_are_plausible",
        "amounts_implausible",
        "A price must not be negative, more than anything costs in its currency, or other than its precise amount rounded. "
        "Correct it at the source",
    ),
    none_listed(
        "currencies_agree",
        "amounts_in_other_currency",
        "Tiers and discount must have the currency of the price. Correct it at the source",
    ),
    Expectation(
        "window_is_in_order",
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "valid_until", "column_B": "valid_from", "or_equal": True},
        "A price must not end before it begins. Correct its window at the source",
    ),
    none_listed(
        "tiers_are_distinct",
        "tiers_wrong",
        "Each tier must begin at a quantity of its own, from 1 on. Correct the tiers at the source",
    ),
    none_listed(
        "countries_are_known",
        "countries_unknown",
        "A country must be an ISO 3166 code of two letters, such as DE. Correct it at the source",
    ),
    none_listed(
        "discounts_lower_the_price",
        "discounts_above",
        "A discounted price is above the price that it lowers",
        level="warn",
    ),
)
