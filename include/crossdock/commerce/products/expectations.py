"""The rules that every product must pass."""

from __future__ import annotations

from crossdock.sync.dataset import LONGEST_INDEXED
from crossdock.sync.quarantine.model import Expectation
from crossdock.sync.standard_expectations import key_rule, none_listed, source_rules

EXPECTATIONS = (
    *source_rules("created_at"),
    Expectation(
        "key_is_present",
        "expect_column_value_lengths_to_be_between",
        {"column": "key", "min_value": 1, "max_value": 256},
        "A product must have a key or an ID of at most 256 characters. Correct it at the source",
    ),
    key_rule("key", "A product's key"),
    Expectation(
        "name_is_present",
        "expect_column_values_to_be_between",
        {"column": "names_given", "min_value": 1},
        "A product needs a name in at least one language. Add it at the source",
    ),
    Expectation(
        "product_has_variants",
        "expect_column_values_to_be_between",
        {"column": "variants_given", "min_value": 1},
        "The product has no variants: the project has the modular catalogue, whose variants the hub does not read",
        # The whole project has it or not: refused one by one, each of its products would be an item of its own.
        level="warn",
    ),
    none_listed(
        "variants_have_skus",
        "variants_without_sku",
        "A variant without a SKU cannot be stocked, and its orders cannot be matched",
        level="warn",
    ),
    none_listed(
        "skus_are_well_formed",
        "skus_malformed",
        "A SKU must have at most 256 characters, all of them printable. Correct it at the source",
    ),
    none_listed(
        "skus_are_unique",
        "skus_repeated",
        "Two variants must not have one SKU. Correct one of them at the source",
    ),
    none_listed(
        "variants_are_unique",
        "variants_repeated",
        "Two variants of a product must not have one ID. This record was not created by the source",
    ),
    none_listed(
        "prices_are_unique",
        "prices_repeated",
        "Two prices of a variant must not have one ID. This record was not created by the source",
        required=True,
    ),
    none_listed(
        "prices_fit_the_tables",
        "prices_unstorable",
        f"The ID and the SKU of a price must have at most {LONGEST_INDEXED} characters. Shorten them at the source",
        required=True,
    ),
    none_listed(
        "prices_are_plausible",
        "prices_implausible",
        "A price must not be negative, more than anything costs in its currency, or other than its precise amount rounded. "
        "Correct it at the source",
    ),
    none_listed(
        "currency_is_iso_4217",
        "currencies_unknown",
        "A currency must be one of ISO 4217, e.g. EUR. Correct it at the source",
        required=True,
    ),
    none_listed(
        "currencies_agree",
        "currencies_mixed",
        "Tiers and discount must have the currency of their price. Correct it at the source",
    ),
    none_listed(
        "windows_are_in_order",
        "windows_reversed",
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
