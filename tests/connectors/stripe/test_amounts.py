"""Stripe's amounts: where its smallest units are not those of ISO 4217, and that nothing is rounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.connectors.stripe.amounts import AmountNotPossible, minor_amount, stripe_amount
from crossdock.core.money import CURRENCIES


@pytest.mark.parametrize(
    ("minor", "currency", "at_stripe"),
    [
        (1999, "EUR", 1999),
        (1999, "USD", 1999),
        (500, "JPY", 500),
        (500, "KRW", 500),
        (500, "CLP", 500),
        (500, "XAF", 500),
        (5, "ISK", 500),
        (5, "UGX", 500),
        (500, "MGA", 5),
        (1045, "HUF", 1045),
        (80_045, "TWD", 80_045),
        (5120, "KWD", 5120),
        (5120, "BHD", 5120),
    ],
)
def test_an_amount_is_as_the_vendor_documents(minor: int, currency: str, at_stripe: int) -> None:
    """ISK and UGX are sent in hundredths, MGA without its two decimals; HUF and TWD differ in payouts only."""
    assert stripe_amount(minor, currency) == at_stripe
    assert minor_amount(at_stripe, currency) == minor


@pytest.mark.parametrize(
    ("minor", "currency", "why"),
    [
        (5124, "KWD", "steps of 10 minor units"),
        (501, "MGA", "steps of 100 minor units"),
        (500, "IQD", "does not document"),
        (500, "CLF", "does not document"),
        (500, "XXX", "not a currency"),
    ],
)
def test_what_does_not_exist_at_stripe_is_refused_and_never_rounded(minor: int, currency: str, why: str) -> None:
    """A guess at the unit would charge a thousandth, or a thousandfold."""
    with pytest.raises(AmountNotPossible, match=why):
        stripe_amount(minor, currency)


@pytest.mark.parametrize(("at_stripe", "currency"), [(550, "ISK"), (1, "UGX")])
def test_an_answer_that_is_no_whole_minor_unit_is_refused(at_stripe: int, currency: str) -> None:
    with pytest.raises(AmountNotPossible, match="no whole minor units"):
        minor_amount(at_stripe, currency)


@given(st.integers(min_value=1, max_value=999_999_999_999), st.sampled_from(sorted(CURRENCIES)))
def test_what_is_sent_comes_back_as_it_was(minor: int, currency: str) -> None:
    """For each currency: an amount is refused, or survives the way there and back."""
    try:
        sent = stripe_amount(minor, currency)
    except AmountNotPossible:
        return
    assert minor_amount(sent, currency) == minor
