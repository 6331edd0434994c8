"""The validation rules of stock levels. The one place where these rules are written."""

from __future__ import annotations

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
        {"column": "sku", "regex": r"^[^\x00-\x1f\x7f]{0,100}$"},
        "The SKU must have 1 to 100 printable characters. Correct it at the source",
    ),
    Expectation(
        "stock_is_not_negative",
        "expect_column_values_to_be_between",
        {"column": "quantity_on_stock", "min_value": 0, "max_value": _MOST_UNITS},
        "The quantity must be between 0 and 1,000,000,000. Correct it at the source",
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
        "restock_days_are_plausible",
        "expect_column_values_to_be_between",
        {"column": "restockable_in_days", "min_value": 0, "max_value": 3650},
        "Restocking must take 0 to 3,650 days. Correct the number at the source",
    ),
)
