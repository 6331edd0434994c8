"""What a merchant expects of a stock level. The one place where these rules are written."""

from __future__ import annotations

from crossdock.sync.quarantine.model import Expectation
from crossdock.sync.standard_expectations import source_rules

#: No shop has a billion of anything: larger figures are typing or unit errors.
_MOST_UNITS = 1_000_000_000

EXPECTATIONS = (
    *source_rules("created_at"),
    Expectation(
        "sku_is_present",
        "expect_column_value_lengths_to_be_between",
        {"column": "sku", "min_value": 1},
        "a stock level without a sku belongs to nothing; give the entry its sku",
    ),
    Expectation(
        "sku_is_well_formed",
        "expect_column_values_to_match_regex",
        {"column": "sku", "regex": r"^[^\x00-\x1f\x7f]{0,100}$"},
        "a sku has 1 to 100 printable characters; correct the sku",
    ),
    Expectation(
        "stock_is_not_negative",
        "expect_column_values_to_be_between",
        {"column": "quantity_on_stock", "min_value": 0, "max_value": _MOST_UNITS},
        "units on the shelf are 0 to 1,000,000,000; count them again",
    ),
    Expectation(
        "available_is_plausible",
        "expect_column_values_to_be_between",
        {"column": "available_quantity", "min_value": -_MOST_UNITS, "max_value": _MOST_UNITS},
        "available units are between -1,000,000,000 and 1,000,000,000; look for a unit error",
    ),
    Expectation(
        "available_is_not_above_stock",
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "quantity_on_stock", "column_B": "available_quantity", "or_equal": True},
        "more is available than lies on the shelf; correct one of the two",
    ),
    Expectation(
        "restock_days_are_plausible",
        "expect_column_values_to_be_between",
        {"column": "restockable_in_days", "min_value": 0, "max_value": 3650},
        "restocking takes 0 to 3,650 days; correct the figure",
    ),
)
