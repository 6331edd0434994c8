"""
Adyen's minor units, which differ from those of ISO 4217 for four currencies.

The hub counts by ISO 4217 everywhere else. Source: Adyen's page on currency codes, which says that its own digits count.
"""

from __future__ import annotations

from crossdock.core.money import currency_exponent

#: Digits after the decimal point at Adyen, where ISO 4217 has others.
_EXPONENTS = {"CLP": 2, "CVE": 0, "IDR": 0, "ISK": 2}


def adyen_value(amount_minor: int, currency: str) -> int:
    """
    Convert an amount in minor units of ISO 4217 to Adyen's.

    Raises:
        ValueError: Adyen's unit is larger, and the amount is no whole number of it.

    """
    return _shifted(amount_minor, exponent(currency) - currency_exponent(currency), currency)


def iso_amount_minor(value: int, currency: str) -> int:
    """
    Convert Adyen's value to minor units of ISO 4217.

    Raises:
        ValueError: the unit of ISO 4217 is larger, and the value is no whole number of it.

    """
    return _shifted(value, currency_exponent(currency) - exponent(currency), currency)


def exponent(currency: str) -> int:
    """Look up the digits of Adyen's minor unit of *currency*."""
    return _EXPONENTS.get(currency, currency_exponent(currency))


def _shifted(amount: int, digits: int, currency: str) -> int:
    """Move the decimal point, never losing a digit."""
    if digits >= 0:
        return amount * int(10**digits)
    whole, rest = divmod(amount, int(10**-digits))
    if rest:
        raise ValueError(f"{amount} of {currency} is not a multiple of {10**-digits}")
    return whole
