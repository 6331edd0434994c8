"""Adyen's minor units: four currencies differ from ISO 4217, and no conversion loses a unit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.connectors.adyen.currencies import adyen_value, exponent, iso_amount_minor
from crossdock.core.money import CURRENCIES, currency_exponent


@pytest.mark.parametrize(
    ("currency", "amount_minor", "value"),
    [
        ("EUR", 1999, 1999),
        ("JPY", 9, 9),
        ("KWD", 1234, 1234),
        ("CLP", 500, 50_000),
        ("ISK", 12, 1_200),
        ("CVE", 1_500, 15),
        ("IDR", 700_000, 7_000),
    ],
)
def test_an_amount_is_the_same_money_on_both_sides(currency: str, amount_minor: int, value: int) -> None:
    assert adyen_value(amount_minor, currency) == value
    assert iso_amount_minor(value, currency) == amount_minor


def test_only_four_currencies_differ() -> None:
    """As Adyen's page says; one more here would multiply or divide real money by a hundred."""
    differing = {code for code in CURRENCIES if exponent(code) != currency_exponent(code)}

    assert differing == {"CLP", "CVE", "IDR", "ISK"}


@pytest.mark.parametrize(("currency", "amount_minor"), [("CVE", 150), ("IDR", 1), ("IDR", 99)])
def test_what_adyens_larger_unit_cannot_say_is_refused_not_rounded(currency: str, amount_minor: int) -> None:
    with pytest.raises(ValueError, match="not a multiple of 100"):
        adyen_value(amount_minor, currency)


@pytest.mark.parametrize(("currency", "value"), [("CLP", 50_001), ("ISK", 1)])
def test_what_the_larger_unit_of_iso_cannot_say_is_refused_not_rounded(currency: str, value: int) -> None:
    with pytest.raises(ValueError, match="not a multiple of 100"):
        iso_amount_minor(value, currency)


@given(st.sampled_from(sorted(CURRENCIES)), st.integers(min_value=1, max_value=999_999_999_999))
def test_there_and_back_is_the_same(currency: str, amount_minor: int) -> None:
    try:
        value = adyen_value(amount_minor, currency)
    except ValueError:
        assert amount_minor % 100
    else:
        assert iso_amount_minor(value, currency) == amount_minor
