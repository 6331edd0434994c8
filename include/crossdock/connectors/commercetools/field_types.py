"""
Field types that several commercetools records use.

Records check types only: a number is a number, a date is a date, both fit the database. The expectations check values.
Records contain no cycles, so the garbage collector does not track them (`gc=False`): it would visit each of a hundred
thousand records repeatedly and double the cost of decoding. Source: the vendor's OpenAPI, schemas InventoryEntry,
Product, StandalonePrice and Order.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from crossdock.core.money import currency_exponent, decimal_text

#: What a PostgreSQL bigint holds.
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
#: The vendor's high precision has up to 20 digits; each of a million digits would be a digit of the text of a price.
FractionDigits = Annotated[int, msgspec.Meta(ge=0, le=20)]
#: An instant with its time zone; without one it would be ambiguous.
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Reference(msgspec.Struct, frozen=True, gc=False):
    id: str


class Money(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """An amount in cents, and more exact for `highPrecision` money."""

    currency_code: str
    cent_amount: Int64
    fraction_digits: FractionDigits | None = None
    precise_amount: Int64 | None = None


def units_of(money: Money) -> tuple[int, int]:
    """
    Give the exact amount, and the digits of the unit that it counts.

    Cents are the minor unit of ISO 4217, whatever their `fractionDigits` say; a high precision amount counts in units of its
    own digits.
    """
    if money.precise_amount is not None and money.fraction_digits is not None:
        return money.precise_amount, money.fraction_digits
    return money.cent_amount, currency_exponent(money.currency_code)


def amount_of(money: Money) -> str:
    """Give the amount as exact decimal text."""
    return decimal_text(*units_of(money))
