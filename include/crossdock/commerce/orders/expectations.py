"""What a merchant expects of an order. The one place where these rules are written."""

from __future__ import annotations

from crossdock.sync.quarantine.model import Expectation
from crossdock.sync.standard_expectations import source_rules


def _no_line(name: str, column: str, message: str) -> Expectation:
    """A rule over all lines of an order: none may break it. One bad line keeps its whole order back."""
    return Expectation(name, "expect_column_values_to_be_between", {"column": column, "max_value": 0}, message)


def _none_listed(name: str, column: str, message: str) -> Expectation:
    """The same for a column that lists what breaks the rule, for a person to see."""
    return Expectation(name, "expect_column_value_lengths_to_be_between", {"column": column, "max_value": 0}, message)


EXPECTATIONS = (
    *source_rules("placed_at"),
    Expectation(
        "order_number_is_present",
        "expect_column_value_lengths_to_be_between",
        {"column": "order_number", "min_value": 1, "max_value": 100},
        "an order is known by its number; give it one",
    ),
    Expectation(
        "order_has_lines",
        "expect_column_values_to_be_between",
        {"column": "line_count", "min_value": 1},
        "an order without lines sells nothing; look at where it comes from",
    ),
    _none_listed(
        "line_codes_are_goods",
        "codes_of_no_goods",
        "a line's code is that of no goods (POST, DOT, M …); say by a rule what it is, as DOT=postage",
    ),
    _none_listed(
        "quantities_fit_the_order",
        "lines_with_wrong_sign",
        "a sale has quantities above zero and a credit note below; a stock adjustment is no order",
    ),
    Expectation(
        "prices_are_not_negative",
        "expect_column_values_to_be_between",
        {"column": "lowest_price_minor", "min_value": 0, "max_value": 100_000_000_000},
        "a unit price is 0 or more; a bad-debt adjustment belongs into the accounts, not into orders",
    ),
    _none_listed(
        "goods_have_a_price",
        "free_goods",
        "goods at no price: a gift, or a price that is missing; say by a rule which, as CODE=gift",
    ),
    _no_line("lines_have_a_name", "lines_without_name", "a line without a description; give it the product's name"),
    _no_line(
        "line_totals_are_right",
        "lines_with_wrong_total",
        "a line's total is not price times quantity; correct one of the three",
    ),
    Expectation(
        "order_total_is_right",
        "expect_column_values_to_be_between",
        {"column": "total_gap_minor", "min_value": 0, "max_value": 0},
        "the order's total is not lines less discount plus shipping; correct the total or the lines",
    ),
    _no_line(
        "currencies_agree", "lines_in_other_currency", "a line in another currency than its order; correct the currency"
    ),
    Expectation(
        "currency_is_iso_4217",
        "expect_column_values_to_match_regex",
        {"column": "currency", "regex": "^[A-Z]{3}$"},
        "a currency is three capital letters, as EUR; correct it",
    ),
    Expectation(
        "state_is_known",
        "expect_column_values_to_be_in_set",
        {"column": "order_state", "value_set": ["Open", "Confirmed", "Complete", "Cancelled"]},
        "an order is Open, Confirmed, Complete or Cancelled; map the state",
    ),
)
