"""Products as projections: names in two languages, a master variant and others, prices by country."""

import random
from collections.abc import Callable, Iterator
from itertools import count

from crossdock.sandbox.commercetools.data.building_blocks import (
    Json,
    SharedReferences,
    base,
    cents,
    reference,
    sku_of,
    uuid,
)

_THINGS = (
    ("T-Shirt", "T-Shirt"),
    ("Jeans", "Jeans"),
    ("Sneaker", "Turnschuh"),
    ("Bag", "Tasche"),
    ("Cap", "Mütze"),
    ("Socks", "Socken"),
    ("Hoodie", "Kapuzenpulli"),
    ("Belt", "Gürtel"),
)
_LOOKS = (("Classic", "Klassisch"), ("Light", "Leicht"), ("Warm", "Warm"), ("Organic", "Bio"), ("Sporty", "Sportlich"))
_COLOURS = ("black", "white", "red", "blue", "green")
_MARKETS = (("EUR", "DE", 100), ("EUR", "FR", 104), ("GBP", "GB", 86), ("USD", "US", 109))


def products(rng: random.Random, size: int, references: SharedReferences) -> Iterator[Json]:
    """Generate *size* products without flaws; their variants use the stock keeping units from the first on."""
    skus = (sku_of(number) for number in count())
    for number in range(size):
        yield _product(rng, number, references, skus)


def _product(rng: random.Random, number: int, references: SharedReferences, skus: Iterator[str]) -> Json:
    (thing, thing_de), (look, look_de) = rng.choice(_THINGS), rng.choice(_LOOKS)
    slug = f"{look}-{thing}-{number:05d}".lower()
    cent_amount = rng.randrange(4, 200) * 100 - 5
    variants = [_variant(rng, i, next(skus), cent_amount) for i in range(1, 2 + number % 4)]
    return (
        base(rng)
        | {
            "key": f"product-{number:05d}",
            "productType": reference("product-type", references.product_type),
            "name": {"en": f"{look} {thing}", "de": f"{thing_de}, {look_de.lower()}"},
            "description": {"en": f"A {look.lower()} {thing.lower()}, number {number}."},
            "slug": {"en": slug, "de": f"{slug}-de"},
            "categories": [reference("category", c) for c in rng.sample(references.categories, 1 + number % 3)],
            "categoryOrderHints": {},
            "searchKeywords": {},
            "hasStagedChanges": False,
            "published": rng.random() < 0.95,  # noqa: PLR2004 - a few are not on sale yet
            "masterVariant": variants[0],
            "variants": variants[1:],
            "taxCategory": reference("tax-category", references.tax_category),
            "priceMode": "Embedded",
            "attributes": [],
        }
    )


def _variant(rng: random.Random, number: int, sku: str, cent_amount: int) -> Json:
    return {
        "id": number,
        "sku": sku,
        "key": sku.lower(),
        "prices": [_price(rng, cent_amount, *market) for market in _MARKETS],
        "images": [{"url": f"https://images.example/{sku}.jpg", "dimensions": {"w": 800, "h": 1000}}],
        "attributes": [
            {"name": "colour", "value": rng.choice(_COLOURS)},
            {"name": "weight_g", "value": rng.randrange(40, 1500)},
            {"name": "care", "value": {"key": "cold", "label": "Wash cold"}},
        ],
        "assets": [],
    }


def _price(rng: random.Random, cent_amount: int, currency: str, country: str, percent: int) -> Json:
    return {"id": uuid(rng), "value": cents(cent_amount * percent // 100, currency), "country": country}


def _empty_name(product: Json) -> None:
    product["name"] = {}


def _negative_price(product: Json) -> None:
    product["masterVariant"]["prices"][0]["value"]["centAmount"] *= -1


def _missing_variant_sku(product: Json) -> None:
    del product["masterVariant"]["sku"]


def _no_prices(product: Json) -> None:
    product["masterVariant"]["prices"] = []


FLAWS: dict[str, Callable[[Json], None]] = {
    "empty_name": _empty_name,
    "negative_price": _negative_price,
    "missing_variant_sku": _missing_variant_sku,
    "no_prices": _no_prices,
}
