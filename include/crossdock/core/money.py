"""Money in whole minor units of a currency, and exact decimals for prices that are finer."""

from __future__ import annotations

from functools import lru_cache

#: Digits after the decimal point by ISO 4217; all other currencies have two.
_OTHER_EXPONENTS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND"), 0),
    **dict.fromkeys(("BYR", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}

#: The currencies of ISO 4217 that a price can have, with those that were withdrawn while shops still had orders in them.
CURRENCIES = frozenset(
    """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
    CHE CHF CHW CLF CLP CNY COP COU CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
    GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP
    LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN
    PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS
    TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW
    ZWG ZWL
    BYR EEK LTL LVL MRO SKK STD VEF ZMK
    """.split()  # noqa: SIM905  a list has a line for each
)

#: No single thing costs more than a billion: a larger price is a typing or unit error.
_LARGEST_PRICE = 1_000_000_000
#: In these currencies a car costs more than that: one euro is about a thousand of their units, or more.
_LARGEST_OF_SMALL_UNITS = 10_000_000_000_000
_SMALL_UNITS = frozenset(
    """
    BIF BYR CDF COP GNF IDR IQD IRR KHR KRW LAK LBP MGA MMK MWK MNT NGN PYG RWF SLL SOS SSP STD STN SYP TZS UGX UZS VEF
    VND YER ZMK ZWL
    """.split()  # noqa: SIM905  a list has a line for each
)


def currency_exponent(currency: str) -> int:
    """Look up the digits of the minor unit of *currency* (ISO 4217): 2 for EUR, 0 for JPY, 3 for KWD, 4 for CLF."""
    return _OTHER_EXPONENTS.get(currency, 2)


@lru_cache(maxsize=256)  # bounded: a currency is text from outside
def largest_price_minor(currency: str) -> int:
    """Give what no single thing costs more than in *currency*, in minor units."""
    largest = _LARGEST_OF_SMALL_UNITS if currency in _SMALL_UNITS else _LARGEST_PRICE
    return int(largest * 10 ** currency_exponent(currency))


def is_plausible_price(amount_minor: int, currency: str) -> bool:
    """Check that *amount_minor* is neither below zero nor more than any single thing costs in *currency*."""
    return 0 <= amount_minor <= largest_price_minor(currency)


def decimal_text(amount: int, digits: int) -> str:
    """Format *amount* units of 10^-*digits* as exact decimal text: 255 with 2 digits is `2.55`."""
    # With integers only, at a third of the cost of Decimal: a year of orders has half a million prices.
    if digits <= 0:
        return str(amount * 10**-digits)
    whole, rest = divmod(abs(amount), 10**digits)
    return f"{'-' if amount < 0 else ''}{whole}.{rest:0{digits}d}"
