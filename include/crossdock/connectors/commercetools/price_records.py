"""Prices as the source sends them, inside a product or standalone: https://docs.commercetools.com/api/types#price."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from crossdock.commerce.prices.schema import Tier
from crossdock.connectors.commercetools.field_types import Instant, Int64, Money, Reference
from crossdock.core.money import CURRENCIES, currency_exponent, decimal_text, is_plausible_price

#: 9999-12-31 is how people write "for ever", and no instant: in another time zone it is in no calendar.
_ALWAYS, _FOREVER = datetime(2, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


class PriceTier(msgspec.Struct, frozen=True, rename="camel", gc=False):
    minimum_quantity: Int64
    value: Money


class DiscountedPrice(msgspec.Struct, frozen=True, rename="camel", gc=False):
    value: Money
    discount: Reference | None = None


class PriceRecord(msgspec.Struct, frozen=True, rename="camel", kw_only=True, gc=False):
    """What both kinds of prices have."""

    value: Money
    id: str | None = None
    country: str | None = None
    customer_group: Reference | None = None
    channel: Reference | None = None
    recurrence_policy: Reference | None = None
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    discounted: DiscountedPrice | None = None
    tiers: list[PriceTier] = []


def id_of(reference: Reference | None) -> str | None:
    """Give the ID of what *reference* names."""
    return reference.id if reference else None


def amount_of(money: Money) -> str:
    """
    Give the amount as exact decimal text.

    Minor units follow ISO 4217, whatever `fractionDigits` of an amount in cents says; a high precision amount counts in units
    of its own digits.
    """
    if money.precise_amount is not None and money.fraction_digits is not None:
        return decimal_text(money.precise_amount, money.fraction_digits)
    return decimal_text(money.cent_amount, currency_exponent(money.currency_code))


def begins_at(price: PriceRecord) -> datetime | None:
    """Give the instant from which the price is valid; None if it has no bound, or one at the beginning of the calendar."""
    return price.valid_from if price.valid_from and price.valid_from > _ALWAYS else None


def ends_at(price: PriceRecord) -> datetime | None:
    """Give the instant until which the price is valid; None if it has no bound, or one at the end of the calendar."""
    return price.valid_until if price.valid_until and price.valid_until < _FOREVER else None


def tiers_of(price: PriceRecord) -> list[Tier] | None:
    """List what a unit costs from which quantity on; None if the price has no tiers."""
    return [
        Tier(
            minimum_quantity=tier.minimum_quantity,
            amount=amount_of(tier.value),
            amount_minor=tier.value.cent_amount,
        )
        for tier in price.tiers
    ] or None


def moneys_of(price: PriceRecord) -> Iterator[tuple[str, Money]]:
    """Yield every amount of *price* with its place, after the price's own: ``, tier 1``, ``, discount``."""
    yield "", price.value
    for number, tier in enumerate(price.tiers, start=1):
        yield f", tier {number}", tier.value
    if price.discounted:
        yield ", discount", price.discounted.value


def implausible(price: PriceRecord, place: str) -> Iterator[str]:
    """Yield each amount of *price* that is negative, or more than anything costs in its currency."""
    for part, money in moneys_of(price):
        if not is_plausible_price(money.cent_amount, money.currency_code):
            yield f"{place}{part}: {money.cent_amount} {money.currency_code}"


def of_no_currency(price: PriceRecord, place: str) -> Iterator[str]:
    """Yield each amount of *price* whose currency does not exist."""
    for part, money in moneys_of(price):
        if money.currency_code not in CURRENCIES:
            yield f"{place}{part}: {money.currency_code}"


def of_other_currency(price: PriceRecord, place: str) -> Iterator[str]:
    """Yield each tier and discount of *price* that is in another currency than the price."""
    for part, money in moneys_of(price):
        if money.currency_code != price.value.currency_code:
            yield f"{place}{part}: {money.currency_code}"
