"""Most prices are plain, and no rule looks at those: a price that breaks a rule is never plain."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from crossdock.connectors.commercetools import price_records as amounts
from crossdock.connectors.commercetools.field_types import Money, Reference
from crossdock.connectors.commercetools.price_records import DiscountedPrice, PriceRecord, PriceTier

RULES = (
    amounts.implausible,
    amounts.of_no_currency,
    amounts.reversed_window,
    amounts.wrong_tiers,
    amounts.in_no_country,
    amounts.raised_by_discount,
    amounts.of_other_currency,
)
#: Good ones, and some that break a rule.
MONEY = st.builds(
    Money,
    currency_code=st.sampled_from(["EUR", "JPY", "eur", "XXX", ""]),
    cent_amount=st.sampled_from([0, 100, -1, 10**12, 2**62]),
    fraction_digits=st.sampled_from([None, 2, 4]),
    precise_amount=st.sampled_from([None, 10_000, -5]),
)
INSTANT = st.sampled_from([None, datetime(2026, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)])
TIERS = st.lists(st.builds(PriceTier, minimum_quantity=st.integers(-1, 3), value=MONEY), max_size=2)
PRICES = st.builds(
    PriceRecord,
    value=MONEY,
    country=st.sampled_from([None, "DE", "XK", "ZZ", "de", ""]),
    valid_from=INSTANT,
    valid_until=INSTANT,
    tiers=TIERS,
    discounted=st.none() | st.builds(DiscountedPrice, value=MONEY),
)
PLAIN = PriceRecord(value=Money("EUR", 4_200), country="DE", channel=Reference("munich"))


@given(PRICES)
def test_no_rule_finds_anything_in_a_plain_price(price: PriceRecord) -> None:
    """The rules skip it."""
    if amounts.is_plain(price):
        assert [found for rule in RULES for found in rule(price, "price 1")] == []


def test_a_usual_price_is_plain() -> None:
    """Otherwise each rule looks at every price again, which was a fifth of what a sync of products cost."""
    assert amounts.is_plain(PLAIN)
