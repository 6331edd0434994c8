"""
Prices in every form that the vendor documents, inside products and standalone.

"Prices … can be restricted to a country, Customer Group, Channel, and time period"; "tiers: different Prices for certain
LineItem quantities"; "discounted: set if a matching ProductDiscount exists" (https://docs.commercetools.com/api/types#price).
"""

import random
from collections.abc import Callable, Iterable, Iterator

from crossdock.sandbox.commercetools.data.building_blocks import Json, SharedReferences, base, cents, reference, uuid
from crossdock.sandbox.commercetools.data.order_pricing import money, precise

_MARKETS = (("EUR", "DE", 100), ("EUR", "FR", 104), ("GBP", "GB", 86), ("USD", "US", 109))
_GROUP, _DISCOUNT, _POLICY = (f"f000000{number}-0000-4000-8000-00000000000{number}" for number in (4, 5, 6))
#: Windows long past, open now, and far ahead, so that what is valid does not depend on the day of a test.
_PAST, _OPEN, _AHEAD = "2020-01-01T00:00:00.000Z", "2026-01-01T00:00:00.000Z", "2199-12-31T23:00:00.000Z"


def embedded(rng: random.Random, number: int, cent_amount: int, references: SharedReferences) -> list[Json]:
    """Make the prices of one variant of the *number*th product: for everybody, by market, and one of the further forms."""
    everybody = _price(rng, cents(cent_amount, "EUR"))
    by_market = [
        _price(rng, cents(cent_amount * percent // 100, currency), country=country)
        for currency, country, percent in _MARKETS
    ]
    form = _FORMS[number % len(_FORMS)]
    further = form(rng, cent_amount, references)
    # The order of a list means nothing: a price for few people may well be the first.
    return [further, everybody, *by_market] if form is _for_group else [everybody, *by_market, further]


def _price(rng: random.Random, value: Json, **fields: object) -> Json:
    return {"id": uuid(rng), "value": value, **fields}


def _for_group(rng: random.Random, cent_amount: int, _references: SharedReferences) -> Json:
    return _price(rng, cents(cent_amount * 9 // 10, "EUR"), customerGroup=reference("customer-group", _GROUP))


def _in_channel(rng: random.Random, cent_amount: int, references: SharedReferences) -> Json:
    return _price(rng, cents(cent_amount + 100, "EUR"), channel=reference("channel", references.channels[0][1]))


def _in_window(rng: random.Random, cent_amount: int, _references: SharedReferences) -> Json:
    begun = rng.random() < 0.5  # noqa: PLR2004
    window = {"validFrom": _PAST, "validUntil": _OPEN} if begun else {"validFrom": _AHEAD}
    return _price(rng, cents(cent_amount * 8 // 10, "EUR"), country="DE", **window)


def _with_tiers(rng: random.Random, cent_amount: int, _references: SharedReferences) -> Json:
    tiers = [
        {"minimumQuantity": least, "value": cents(cent_amount * (100 - least) // 100, "EUR")} for least in (10, 50)
    ]
    return _price(rng, cents(cent_amount, "EUR"), country="AT", tiers=tiers)


def _discounted(rng: random.Random, cent_amount: int, _references: SharedReferences) -> Json:
    discount = {"value": cents(cent_amount * 7 // 10, "EUR"), "discount": reference("product-discount", _DISCOUNT)}
    return _price(rng, cents(cent_amount, "EUR"), country="NL", discounted=discount)


def _finer_than_a_cent(rng: random.Random, cent_amount: int, _references: SharedReferences) -> Json:
    return _price(rng, precise(cent_amount * 1_000 + 45, 5, "EUR"), country="BE")


def _of_other_digits(rng: random.Random, cent_amount: int, _references: SharedReferences) -> Json:
    currency, country = rng.choice((("JPY", "JP"), ("KWD", "KW"), ("CLF", "CL"), ("IDR", "ID")))
    return _price(rng, money(cent_amount * 10, currency), country=country)


def _for_subscription(rng: random.Random, cent_amount: int, _references: SharedReferences) -> Json:
    policy = reference("recurrence-policy", _POLICY)
    return _price(rng, cents(cent_amount * 6 // 10, "EUR"), recurrencePolicy=policy)


_FORMS: tuple[Callable[[random.Random, int, SharedReferences], Json], ...] = (
    _for_group,
    _in_channel,
    _in_window,
    _with_tiers,
    _discounted,
    _finer_than_a_cent,
    _of_other_digits,
    _for_subscription,
)


def standalone(rng: random.Random, products: Iterable[Json], references: SharedReferences) -> Iterator[Json]:
    """Generate the prices of the *products* of the price mode Standalone, which have none inside."""
    sold = [product for product in products if product["priceMode"] == "Standalone"]
    for number, product in enumerate(sold):
        for variant in (product["masterVariant"], *product["variants"]):
            if "sku" not in variant:
                continue
            for price in embedded(rng, number, rng.randrange(4, 200) * 100 - 5, references):
                key = {} if number % 2 else {"key": f"price-{price['id'][:8]}"}
                yield base(rng) | price | key | {"sku": variant["sku"], "active": rng.random() < 0.9}  # noqa: PLR2004


def _lower_case_currency(price: Json) -> None:
    price["value"]["currencyCode"] = price["value"]["currencyCode"].lower()


def _ends_before_it_begins(price: Json) -> None:
    price["validFrom"], price["validUntil"] = _AHEAD, _PAST


FLAWS: dict[str, Callable[[Json], None]] = {
    "lower_case_currency": _lower_case_currency,
    "ends_before_it_begins": _ends_before_it_begins,
}
