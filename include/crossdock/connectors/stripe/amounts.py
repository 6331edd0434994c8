"""
Amounts as Stripe counts them, and back.

Stripe takes an integer of a currency's smallest unit, as the hub does, but its smallest units are not always those of ISO
4217: https://docs.stripe.com/currencies. Only whole conversions exist here: nothing is ever rounded.
"""

from __future__ import annotations

from crossdock.core.errors import BadRequest
from crossdock.core.money import CURRENCIES, currency_exponent

#: Currencies that Stripe counts without decimals. ISO 4217 gives MGA two.
_WITHOUT_DECIMALS = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split())  # noqa: SIM905
#: Currencies without decimals that Stripe counts in hundredths, for the sake of its older clients: 5 krónur are 500.
_IN_HUNDREDTHS = frozenset({"ISK", "UGX"})
#: Currencies with three decimals, of which the card networks take two: the last digit must be 0.
_THOUSANDTHS = frozenset("BHD JOD KWD OMR TND".split())  # noqa: SIM905
#: All else has two decimals at Stripe. HUF and TWD too: they are without decimals in payouts only.
_DECIMALS = 2


class AmountNotPossible(BadRequest):
    """The amount or its currency does not exist at Stripe."""


def stripe_amount(amount_minor: int, currency: str) -> int:
    """
    Convert minor units by ISO 4217 to what Stripe takes.

    Raises:
        AmountNotPossible: Stripe has no such currency, or counts it in coarser steps than the amount needs.

    """
    by_iso, at_stripe = currency_exponent(currency), _decimals_of(currency)
    amount, rest = _scaled(amount_minor, by_iso, at_stripe)
    if rest or (currency in _THOUSANDTHS and amount % 10):
        step = 10 if currency in _THOUSANDTHS else 10 ** (by_iso - at_stripe)
        raise AmountNotPossible(f"Stripe takes {currency} in steps of {step} minor units, not {amount_minor}")
    return amount


def minor_amount(amount: int, currency: str) -> int:
    """
    Convert what Stripe says to minor units by ISO 4217.

    Raises:
        AmountNotPossible: the currency is unknown, or the amount is no whole number of its minor units.

    """
    converted, rest = _scaled(amount, _decimals_of(currency), currency_exponent(currency))
    if rest:
        raise AmountNotPossible(f"{amount} of Stripe's smallest units of {currency} are no whole minor units")
    return converted


def _decimals_of(currency: str) -> int:
    if currency not in CURRENCIES:
        raise AmountNotPossible(f"{currency} is not a currency that the hub knows")
    if currency in _WITHOUT_DECIMALS:
        return 0
    if currency in _THOUSANDTHS:
        return 3
    if currency not in _IN_HUNDREDTHS and currency_exponent(currency) != _DECIMALS:
        # To guess its smallest unit would charge a thousandth, or a thousandfold.
        raise AmountNotPossible(f"Stripe does not document how it counts {currency}")
    return _DECIMALS


def _scaled(amount: int, decimals: int, wanted: int) -> tuple[int, int]:
    """Write *amount* with *wanted* decimals instead; the second number is what is left over."""
    more, fewer = 10 ** max(wanted - decimals, 0), 10 ** max(decimals - wanted, 0)
    return amount * more // fewer, amount * more % fewer
