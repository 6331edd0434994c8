"""Money is exact: whole minor units, and decimals that are written from them without a float between."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.core.money import CURRENCIES, currency_exponent, decimal_text, is_plausible_price


@pytest.mark.parametrize(
    ("amount", "digits", "text"),
    [
        (255, 2, "2.55"),
        (-5, 2, "-0.05"),
        (-100, 2, "-1.00"),
        (-99, 2, "-0.99"),
        (0, 2, "0.00"),
        (7, 0, "7"),
        (-7, 0, "-7"),
        (7, -3, "7000"),
        (1, 12, "0.000000000001"),
    ],
)
def test_an_amount_between_minus_one_and_nought_keeps_its_sign(amount: int, digits: int, text: str) -> None:
    """A credit of five cents must not become a charge of five cents."""
    assert decimal_text(amount, digits) == text


@given(st.integers(-(10**30), 10**30), st.integers(-3, 20))
def test_decimal_text_is_the_very_amount(amount: int, digits: int) -> None:
    assert Fraction(decimal_text(amount, digits)) == amount * Fraction(10) ** -digits


@pytest.mark.parametrize(
    ("currency", "exponent"), [("EUR", 2), ("JPY", 0), ("UGX", 0), ("XPF", 0), ("KWD", 3), ("TND", 3), ("CLF", 4)]
)
def test_a_currency_has_the_minor_unit_of_iso_4217(currency: str, exponent: int) -> None:
    """A yen has no cents: with two digits, every price in Japan is a hundredth of itself."""
    assert currency in CURRENCIES
    assert currency_exponent(currency) == exponent


@pytest.mark.parametrize(
    ("currency", "largest"), [("EUR", 10**11), ("JPY", 10**9), ("KWD", 10**12), ("KRW", 10**13), ("IDR", 10**15)]
)
def test_a_price_is_plausible_from_nought_to_the_largest_of_its_currency(currency: str, largest: int) -> None:
    """A car costs billions of rupiahs; in euros, as many are a typing error."""
    assert [is_plausible_price(amount, currency) for amount in (-1, 0, largest, largest + 1)] == [
        False,
        True,
        True,
        False,
    ]
