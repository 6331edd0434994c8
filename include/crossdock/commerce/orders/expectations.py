"""The expectations of orders. The only place with these rules."""

from __future__ import annotations

from crossdock.sync.quarantine.model import Expectation
from crossdock.sync.standard_expectations import source_rules


def _no_line(name: str, column: str, message: str) -> Expectation:
    """Make a rule for all lines of an order: one bad line rejects the whole order."""
    return Expectation(name, "expect_column_values_to_be_between", {"column": column, "max_value": 0}, message)


def _none_listed(name: str, column: str, message: str) -> Expectation:
    """Make a rule for a column that lists the values that break it, so that a person sees them."""
    return Expectation(name, "expect_column_value_lengths_to_be_between", {"column": column, "max_value": 0}, message)


EXPECTATIONS = (
    *source_rules("placed_at"),
    Expectation(
        "order_number_is_present",
        "expect_column_value_lengths_to_be_between",
        {"column": "order_number", "min_value": 1, "max_value": 100},
        "An order number is required. Add it at the source",
    ),
    Expectation(
        "order_has_lines",
        "expect_column_values_to_be_between",
        {"column": "line_count", "min_value": 1},
        "An order must have at least one line. Check where it comes from",
    ),
    _none_listed(
        "line_codes_are_goods",
        "codes_not_of_products",
        "A line has a code that is not a product (POST, DOT, M …). Map the code to a kind, e.g. DOT=postage",
    ),
    _none_listed(
        "quantities_fit_the_order",
        "lines_with_wrong_sign",
        "Quantities must be above 0 in a sale and below 0 in a credit note. A stock adjustment is not an order",
    ),
    Expectation(
        "prices_are_not_negative",
        "expect_column_values_to_be_between",
        {"column": "lowest_price_minor", "min_value": 0, "max_value": 100_000_000_000},
        "Unit prices must not be negative. A bad-debt adjustment belongs in accounting, not in orders",
    ),
    _none_listed(
        "goods_have_a_price",
        "codes_without_price",
        "A product without a price: a gift, or the price is missing. Map a gift to its kind, e.g. CODE=gift",
    ),
    _no_line("lines_have_a_name", "lines_without_name", "Every line needs a name. Add the product's name"),
    _no_line(
        "line_totals_are_right",
        "lines_with_wrong_total",
        "A line's total must be price times quantity. Correct one of the three",
    ),
    Expectation(
        "order_total_is_right",
        "expect_column_values_to_be_between",
        {"column": "total_difference_minor", "min_value": 0, "max_value": 0},
        "The order's total must be lines less discount plus shipping. Correct the total or the lines",
    ),
    _no_line(
        "currencies_agree",
        "lines_in_other_currency",
        "All lines must have the currency of the order. Correct the currency",
    ),
    Expectation(
        "currency_is_iso_4217",
        "expect_column_values_to_match_regex",
        {"column": "currency", "regex": "^[A-Z]{3}$"},
        "A currency must be three capital letters, e.g. EUR. Correct it at the source",
    ),
    Expectation(
        "state_is_known",
        "expect_column_values_to_be_in_set",
        {"column": "order_state", "value_set": ["Open", "Confirmed", "Complete", "Cancelled"]},
        "The state must be Open, Confirmed, Complete or Cancelled. Map the state",
    ),
)
