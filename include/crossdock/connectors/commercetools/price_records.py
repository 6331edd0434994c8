"""Prices as the source sends them, inside a product or standalone: https://docs.commercetools.com/api/types#price."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from crossdock.commerce.prices.schema import Tier
from crossdock.connectors.commercetools.field_types import (
    Instant,
    Int64,
    Money,
    Reference,
    amount_of,
    is_country,
    is_plausible,
    is_rounded,
    unless_forever,
)
from crossdock.core.money import CURRENCIES, currency_exponent

#: How people write "since ever".
_ALWAYS = datetime(2, 1, 1, tzinfo=UTC)
#: How much of a country that is none is shown.
_SHOWN = 20


class PriceTier(msgspec.Struct, frozen=True, rename="camel", gc=False):
    minimum_quantity: Int64
    value: Money


class DiscountedPrice(msgspec.Struct, frozen=True, rename="camel", gc=False):
    value: Money
    discount: Reference | None = None


class UnitPrice(msgspec.Struct, frozen=True, rename="camel", kw_only=True, gc=False):
    """What one unit costs: as listed, while a product discount applies, and from a quantity on. A line of an order has it, too."""

    value: Money
    discounted: DiscountedPrice | None = None
    tiers: list[PriceTier] = []


class PriceRecord(UnitPrice, frozen=True, rename="camel", kw_only=True, gc=False):
    """What a price inside a product and a standalone one have."""

    id: str | None = None
    country: str | None = None
    customer_group: Reference | None = None
    channel: Reference | None = None
    recurrence_policy: Reference | None = None
    valid_from: Instant | None = None
    valid_until: Instant | None = None


def id_of(reference: Reference | None) -> str | None:
    """Give the ID of what *reference* names."""
    return reference.id if reference else None


def begins_at(price: PriceRecord) -> datetime | None:
    """Give the instant from which the price is valid; None if it has no bound, or one at the beginning of the calendar."""
    return price.valid_from if price.valid_from and price.valid_from > _ALWAYS else None


def ends_at(price: PriceRecord) -> datetime | None:
    """Give the instant until which the price is valid; None if it has no bound, or one at the end of the calendar."""
    return unless_forever(price.valid_until)


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


def columns_of(price: PriceRecord) -> dict[str, Any]:
    """Map what both kinds of prices have to the columns of `Price`, but for the tiers, which one of them has as JSON."""
    money, discounted = price.value, price.discounted
    return {
        "currency": money.currency_code,
        "amount": amount_of(money),
        "amount_minor": money.cent_amount,
        "exponent": currency_exponent(money.currency_code),
        "country": price.country,
        "customer_group": id_of(price.customer_group),
        "channel": id_of(price.channel),
        "recurrence_policy": id_of(price.recurrence_policy),
        "valid_from": begins_at(price),
        "valid_until": ends_at(price),
        "discounted_amount": amount_of(discounted.value) if discounted else None,
        "discounted_minor": discounted.value.cent_amount if discounted else None,
        "discount": id_of(discounted.discount) if discounted else None,
    }


def is_plain(price: PriceRecord) -> bool:
    """Check that *price* is one amount without tiers, discount or window, and so good that no rule below finds anything."""
    money = price.value
    return (
        not price.tiers
        and price.discounted is None
        and (price.valid_from is None or price.valid_until is None)
        and money.precise_amount is None
        and is_plausible(money)
        and money.currency_code in CURRENCIES
        and (price.country is None or is_country(price.country))
    )


def moneys_of(price: UnitPrice) -> Iterator[tuple[str, Money]]:
    """Yield every amount of *price* with its place, after the price's own: ``, tier 1``, ``, discount``."""
    yield "", price.value
    for number, tier in enumerate(price.tiers, start=1):
        yield f", tier {number}", tier.value
    if price.discounted:
        yield ", discount", price.discounted.value


def implausible(price: PriceRecord, place: str) -> Iterator[str]:
    """Yield each amount of *price* that is negative, more than anything costs, or not its precise amount rounded."""
    for part, money in moneys_of(price):
        if not is_plausible(money) or not is_rounded(money):
            yield f"{place}{part}: {described(money)}"


def described(money: Money) -> str:
    """Write *money* for a person: in minor units, and exactly where that is something else."""
    cents = f"{money.cent_amount} {money.currency_code}"
    return cents if is_rounded(money) else f"{cents} is not {amount_of(money)}"


def of_no_currency(price: PriceRecord, place: str) -> Iterator[str]:
    """Yield each amount of *price* whose currency does not exist."""
    for part, money in moneys_of(price):
        if money.currency_code not in CURRENCIES:
            yield f"{place}{part}: {money.currency_code}"


def in_no_country(price: PriceRecord, place: str) -> Iterator[str]:
    """Yield the country of *price* if it is none of ISO 3166: no customer is in it."""
    if price.country is not None and not is_country(price.country):
        yield f"{place}: {price.country[:_SHOWN]}"


def reversed_window(price: PriceRecord, place: str) -> Iterator[str]:
    """Yield the window of *price* if it ends before it begins: the price is never valid."""
    begins, ends = begins_at(price), ends_at(price)
    if begins and ends and ends < begins:
        yield f"{place}: {begins:%Y-%m-%d} to {ends:%Y-%m-%d}"


def wrong_tiers(price: PriceRecord, place: str) -> Iterator[str]:
    """Yield each tier of *price* that begins at no quantity, or at that of another tier: which one counts is a guess."""
    seen: set[int] = set()
    for number, tier in enumerate(price.tiers, start=1):
        if tier.minimum_quantity < 1 or tier.minimum_quantity in seen:
            yield f"{place}, tier {number}: from {tier.minimum_quantity}"
        seen.add(tier.minimum_quantity)


def raised_by_discount(price: PriceRecord, place: str) -> Iterator[str]:
    """Yield the discount of *price* if it is more than the price."""
    if price.discounted and price.discounted.value.cent_amount > price.value.cent_amount:
        yield f"{place}: {price.discounted.value.cent_amount} instead of {price.value.cent_amount}"


def of_other_currency(price: PriceRecord, place: str) -> Iterator[str]:
    """Yield each tier and discount of *price* that is in another currency than the price."""
    for part, money in moneys_of(price):
        if money.currency_code != price.value.currency_code:
            yield f"{place}{part}: {money.currency_code}"
