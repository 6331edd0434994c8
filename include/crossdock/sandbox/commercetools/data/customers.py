"""Customers, with addresses in the retailer's four countries."""

import random
from collections.abc import Callable, Iterator

from crossdock.sandbox.commercetools.data.building_blocks import COUNTRIES, Json, base

_FIRST = ("Ada", "Björn", "Chloé", "Dmitri", "Esra", "Finn", "Grace", "Håkon", "Inès", "Jürgen", "Kenji", "Łucja")
_LAST = ("Adler", "Brown", "Çelik", "Dubois", "Evans", "Fischer", "García", "Hansen", "Ivanov", "Jones", "O'Neill")
_CITIES = {"DE": ("Berlin", "10115"), "FR": ("Lyon", "69001"), "GB": ("Leeds", "LS1 1UR"), "US": ("Newark", "07102")}


def customers(rng: random.Random, size: int) -> Iterator[Json]:
    """Generate *size* customers without flaws."""
    for number in range(size):
        yield _customer(rng, number)


def _customer(rng: random.Random, number: int) -> Json:
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    addresses = [_address(rng, f"a{i}", first, last) for i in range(1, 2 + number % 2)]
    return base(rng) | {
        "key": f"customer-{number:05d}",
        "customerNumber": f"C{number:06d}",
        "email": f"customer{number:05d}@mail.example",
        "firstName": first,
        "lastName": last,
        "addresses": addresses,
        "defaultShippingAddressId": "a1",
        "defaultBillingAddressId": "a1",
        "shippingAddressIds": ["a1"],
        "billingAddressIds": ["a1"],
        "isEmailVerified": rng.random() < 0.8,  # noqa: PLR2004
        "customerGroupAssignments": [],
        "stores": [],
        "authenticationMode": "Password",
        "locale": rng.choice(("en", "de")),
    }


def _address(rng: random.Random, address_id: str, first: str, last: str) -> Json:
    country = rng.choice(COUNTRIES)
    city, postal_code = _CITIES[country]
    return {
        "id": address_id,
        "firstName": first,
        "lastName": last,
        "streetName": "Market Street",
        "streetNumber": str(rng.randrange(1, 200)),
        "postalCode": postal_code,
        "city": city,
        "country": country,
    }


def _email_without_at(customer: Json) -> None:
    customer["email"] = customer["email"].replace("@", "(at)")


def _blank_last_name(customer: Json) -> None:
    customer["lastName"] = "   "


def _unknown_country(customer: Json) -> None:
    customer["addresses"][0]["country"] = "XX"


FLAWS: dict[str, Callable[[Json], None]] = {
    "email_without_at": _email_without_at,
    "blank_last_name": _blank_last_name,
    "country_that_is_none": _unknown_country,
}
