"""The rules that every stock level must pass."""

from __future__ import annotations

from crossdock.commerce.skus import WELL_FORMED
from crossdock.sync.quarantine.model import Expectation
from crossdock.sync.standard_expectations import source_rules

#: No shop has a billion units of anything: larger numbers are typing or unit errors.
_MOST_UNITS = 1_000_000_000

EXPECTATIONS = (
    *source_rules("created_at"),
    Expectation(
        "sku_is_present",
        "expect_column_value_lengths_to_be_between",
        {"column": "sku", "min_value": 1},
        "The SKU is missing. Add it at the source",
    ),
    Expectation(
        "sku_is_well_formed",
        "expect_column_values_to_match_regex",
        {"column": "sku", "regex": WELL_FORMED},
        "The SKU must have at most 256 characters, all of them printable. Correct it at the source",
    ),
    Expectation(
        # Below zero is legal: a platform may sell what it does not have yet.
        "stock_is_plausible",
        "expect_column_values_to_be_between",
        {"column": "quantity_on_stock", "min_value": -_MOST_UNITS, "max_value": _MOST_UNITS},
        "The quantity must be between -1,000,000,000 and 1,000,000,000. Check its unit at the source",
    ),
    Expectation(
        "available_is_plausible",
        "expect_column_values_to_be_between",
        {"column": "available_quantity", "min_value": -_MOST_UNITS, "max_value": _MOST_UNITS},
        "The available quantity must be between -1,000,000,000 and 1,000,000,000. Check its unit at the source",
    ),
    Expectation(
        "available_is_not_above_stock",
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "quantity_on_stock", "column_B": "available_quantity", "or_equal": True},
        "The available quantity must not exceed the quantity on stock. Correct one of the two at the source",
    ),
    Expectation(
        "restock_days_are_not_negative",
        "expect_column_values_to_be_between",
        {"column": "restockable_in_days", "min_value": 0},
        "Restocking cannot take less than 0 days. Correct the number at the source",
    ),
)
