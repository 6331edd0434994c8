"""Choose the one price that is shown: by a declared scope at an instant, never the first of a list."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from crossdock.commerce.prices.schema import EmbeddedPrice
from crossdock.core.settings import PriceScope


def shown_price(prices: Iterable[EmbeddedPrice], scope: PriceScope, at: datetime) -> EmbeddedPrice | None:
    """
    Choose the price of one variant for *scope* at the instant *at*; None if no price is for it.

    The vendor's order holds: a price for the customer group wins over one for the channel, that over one for the country,
    and of two with the same scope the one with a window. Without a declared currency, prices in two of them are not
    comparable, and none is shown.
    """
    meant = [price for price in prices if _is_meant(price, scope) and _is_valid(price, at)]
    if not meant or len({price.currency for price in meant}) > 1:
        return None
    return max(meant, key=_precision)


def _is_meant(price: EmbeddedPrice, scope: PriceScope) -> bool:
    return (
        price.active
        and price.recurrence_policy is None
        and scope.currency in (None, price.currency)
        and price.country in (None, scope.country)
        and price.customer_group in (None, scope.customer_group)
        and price.channel in (None, scope.channel)
    )


def _is_valid(price: EmbeddedPrice, at: datetime) -> bool:
    begun = price.valid_from is None or price.valid_from <= at
    return begun and (price.valid_until is None or at < price.valid_until)


def _precision(price: EmbeddedPrice) -> tuple[bool, bool, bool, bool]:
    """Rank a price by how closely it fits; no two of a variant are equal, or the platform would refuse the second."""
    return (
        price.customer_group is not None,
        price.channel is not None,
        price.country is not None,
        price.valid_from is not None or price.valid_until is not None,
    )
