"""The rules that every order must pass."""

from __future__ import annotations

from crossdock.core.money import CURRENCIES
from crossdock.sync.quarantine.model import Expectation
from crossdock.sync.standard_expectations import key_rule, none_listed, source_rules


def _adds_up(name: str, column: str, message: str) -> Expectation:
    return Expectation(
        name, "expect_column_values_to_be_between", {"column": column, "min_value": 0, "max_value": 0}, message
    )


EXPECTATIONS = (
    *source_rules("placed_at"),
    key_rule("order_number", "An order's number"),
    Expectation(
        "order_has_lines",
        "expect_column_values_to_be_between",
        {"column": "line_count", "min_value": 1},
        "An order must have at least one line. Check where it comes from",
    ),
    none_listed(
        "quantities_fit_the_order",
        "lines_with_wrong_sign",
        "Units without a price must be above 0 in a sale and below 0 in a credit note. A stock adjustment is not an order",
    ),
    none_listed(
        "prices_are_plausible",
        "amounts_implausible",
        "Prices of products, shipping and discounts must not be negative, and no amount more than anything costs in the "
        "currency, or other than its precise amount rounded. Correct the amount",
    ),
    none_listed(
        "goods_have_a_price",
        "lines_without_price",
        "A product was sold at 0 and is not marked as a gift: a sample, or its price is missing",
        level="warn",
    ),
    none_listed(
        "lines_have_a_sku",
        "lines_without_sku",
        "A product was sold without a SKU, so that its stock cannot be found",
        level="warn",
    ),
    none_listed(
        "skus_are_well_formed",
        "skus_malformed",
        "A SKU must have at most 256 characters, all of them printable. Correct it at the source",
    ),
    none_listed("lines_have_a_name", "lines_without_name", "Every line needs a name. Add the product's name"),
    none_listed(
        "line_totals_are_right",
        "lines_with_wrong_total",
        "A line's total must follow from its price: list, tier, discounted or external, times quantity. Correct the line",
    ),
    _adds_up(
        "order_total_is_right",
        "total_difference_minor",
        "The order's total must be all lines and shipping, as discounted, less the discount on the total. Correct the order",
    ),
    _adds_up("tax_adds_up", "tax_difference_minor", "Net and tax must add up to gross. Correct the tax at the source"),
    none_listed(
        "tax_fits_the_total",
        "tax_of_another_total",
        "The total must be net or gross, and tax must not lower it. Correct the tax at the source",
    ),
    none_listed(
        "currencies_agree",
        "amounts_in_other_currency",
        "All amounts must have the currency of the order. Correct the currency",
    ),
    Expectation(
        "currency_is_iso_4217",
        "expect_column_values_to_be_in_set",
        {"column": "currency", "value_set": sorted(CURRENCIES)},
        "A currency must be one of ISO 4217, e.g. EUR. Correct it at the source",
        required=True,
    ),
    Expectation(
        "state_is_known",
        "expect_column_values_to_be_in_set",
        {"column": "order_state", "value_set": ["Open", "Confirmed", "Complete", "Cancelled"]},
        "The state must be Open, Confirmed, Complete or Cancelled. Map the state",
    ),
)
