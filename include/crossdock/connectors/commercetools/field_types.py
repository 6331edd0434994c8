"""
Field types that several commercetools records use.

Records check types only: a number is a number, a date is a date, both fit the database. The expectations check values.
Records contain no cycles, so the garbage collector does not track them (`gc=False`): it would visit each of a hundred
thousand records repeatedly and double the cost of decoding. Source: the vendor's OpenAPI, schemas InventoryEntry,
Product, StandalonePrice and Order.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated

import msgspec

from crossdock.core.money import currency_exponent, decimal_text, is_plausible_price

#: What a PostgreSQL bigint holds.
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
#: The vendor's high precision has up to 20 digits; each of a million digits would be a digit of the text of a price.
FractionDigits = Annotated[int, msgspec.Meta(ge=0, le=20)]
#: An instant with its time zone; without one it would be ambiguous.
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


#: 9999-12-31 is how people write "for ever", and no instant: in another time zone it is in no calendar.
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)

_COUNTRY = re.compile(r"[A-Z]{2}")
#: Codes that ISO 3166 leaves to users: no country has one. Kosovo (XK) is in use everywhere.
_NO_COUNTRY = re.compile(r"(?!XK)(AA|Q[M-Z]|X[A-Z]|ZZ)")


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


def is_plausible(money: Money) -> bool:
    """Check that *money* is neither below zero nor more than anything costs in its currency."""
    is_negative = money.precise_amount is not None and money.precise_amount < 0
    return not is_negative and is_plausible_price(money.cent_amount, money.currency_code)


def is_rounded(money: Money) -> bool:
    """
    Check that the cents are the exact amount, rounded: by less than one, since the mode of rounding is the project's.

    "centAmount: amount in the smallest indivisible unit of a currency", "preciseAmount: … of the fractionDigits".
    """
    if money.precise_amount is None:
        return True
    amount, digits = units_of(money)
    exponent = currency_exponent(money.currency_code)
    unit: int = 10 ** max(digits - exponent, 0)
    return bool(abs(money.cent_amount * unit - amount * 10 ** max(exponent - digits, 0)) < unit)


@lru_cache(maxsize=1024)  # bounded: a code is text from outside
def is_country(code: str) -> bool:
    """Check that *code* is one of ISO 3166: two letters that the standard does not leave to users."""
    return bool(_COUNTRY.fullmatch(code)) and not _NO_COUNTRY.fullmatch(code)


def unless_forever(instant: datetime | None) -> datetime | None:
    """Give *instant*, or None for one at the end of the calendar."""
    return instant if instant and instant < FOREVER else None


def amount_of(money: Money) -> str:
    """Give the amount as exact decimal text."""
    return decimal_text(*units_of(money))
