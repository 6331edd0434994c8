"""Products as projections, with what a shop may leave out: names in two languages, a master variant and others, prices."""

import random
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from itertools import count

from crossdock.sandbox.commercetools.data.building_blocks import (
    Json,
    SharedReferences,
    base,
    cents,
    reference,
    sku_of,
)
from crossdock.sandbox.commercetools.data.prices import embedded

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
#: One product in so many has each form.
_WITHOUT_KEY, _BLANK_NAME, _VARIANT_WITHOUT_SKU, _STANDALONE, _STAGED = 7, 8, 6, 9, 10


def products(rng: random.Random, size: int, references: SharedReferences) -> Iterator[Json]:
    """Generate *size* products without flaws; their variants use the stock keeping units from the first on."""
    skus = (sku_of(number) for number in count())
    for number in range(size):
        yield _product(rng, number, references, skus)


def _product(rng: random.Random, number: int, references: SharedReferences, skus: Iterator[str]) -> Json:
    (thing, thing_de), (look, look_de) = rng.choice(_THINGS), rng.choice(_LOOKS)
    slug = f"{look}-{thing}-{number:05d}".lower()
    cent_amount = rng.randrange(4, 200) * 100 - 5
    standalone = number % _STANDALONE == _STANDALONE - 1
    variants = [
        _variant(rng, i, next(skus), [] if standalone else embedded(rng, number, cent_amount, references))
        for i in range(1, 2 + number % 4)
    ]
    product = (
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
            "priceMode": "Standalone" if standalone else "Embedded",
            "attributes": [],
        }
    )
    _leave_out(product, number)
    return product


def _leave_out(product: Json, number: int) -> None:
    """Leave out what the vendor documents as optional: `key` of a product, `sku` of a variant, a text of one language."""
    if number % _WITHOUT_KEY == _WITHOUT_KEY - 1:
        del product["key"]
    if number % _BLANK_NAME == _BLANK_NAME - 1:
        product["name"]["en"] = " "
    if number % _VARIANT_WITHOUT_SKU == _VARIANT_WITHOUT_SKU - 1 and product["variants"]:
        del product["variants"][-1]["sku"]


def with_staged_changes(products: Iterable[Json]) -> Iterator[Json]:
    """Stage another price in some of *products*, which customers do not see: a projection cannot hold both."""
    for number, product in enumerate(products):
        has_own_prices = product["masterVariant"].get("prices")
        yield _staged(product) if number % _STAGED == _STAGED - 1 and has_own_prices else product


def shown(product: Json) -> Json:
    """Give the part of a stored *product* that customers see: it is a product, or the projection of one."""
    found: Json = product["masterData"]["current"] if "masterData" in product else product
    return found


def is_sold(product: Json) -> bool:
    """Check that a generated order can name the *product* and its variant."""
    return "key" in product and "sku" in product.get("masterVariant", {})


def projection(product: Json) -> Json:
    """Make the projection of a stored *product*, as customers see it."""
    return product | shown(product)


def _staged(product: Json) -> Json:
    names = ("name", "description", "slug", "categories", "categoryOrderHints", "searchKeywords", "attributes")
    current = {name: product[name] for name in (*names, "masterVariant", "variants") if name in product}
    staged = deepcopy(current)
    for price in staged["masterVariant"]["prices"]:
        price["value"]["centAmount"] += 1
        if "preciseAmount" in price["value"]:
            price["value"]["preciseAmount"] += 1_000
    catalogue = {"published": product["published"], "hasStagedChanges": True, "current": current, "staged": staged}
    own = {name: value for name, value in product.items() if name not in (*current, "published", "hasStagedChanges")}
    return own | {"masterData": catalogue}


def _variant(rng: random.Random, number: int, sku: str, prices: list[Json]) -> Json:
    return {
        "id": number,
        "sku": sku,
        "key": sku.lower(),
        "prices": prices,
        "images": [{"url": f"https://images.example/{sku}.jpg", "dimensions": {"w": 800, "h": 1000}}],
        "attributes": [
            {"name": "colour", "value": rng.choice(_COLOURS)},
            {"name": "weight_g", "value": rng.randrange(40, 1500)},
            {"name": "care", "value": {"key": "cold", "label": "Wash cold"}},
        ],
        "assets": [],
    }


def _last_price(product: Json) -> Json:
    """Give the last price of the last variant; one that looks at the first alone would miss its flaw."""
    prices = (product["variants"] or [product["masterVariant"]])[-1]["prices"]
    if not prices:
        prices.append({"id": f"{product['id'][:-1]}0", "value": cents(100, "EUR")})
    found: Json = prices[-1]
    return found


def _last_variant(product: Json) -> Json:
    if not product["variants"]:
        product["variants"].append({**product["masterVariant"], "id": 2, "prices": []})
    found: Json = product["variants"][-1]
    return found


def _empty_name(product: Json) -> None:
    product["name"] = {}


def _negative_price(product: Json) -> None:
    value = _last_price(product)["value"]
    value["centAmount"] = -1 - value["centAmount"]


def _lower_case_currency(product: Json) -> None:
    value = _last_price(product)["value"]
    value["currencyCode"] = value["currencyCode"].lower()


def _line_feed_in_sku(product: Json) -> None:
    _last_variant(product)["sku"] = "A\tB\nC"


def _sku_twice(product: Json) -> None:
    _last_variant(product)["sku"] = product["masterVariant"]["sku"]


FLAWS: dict[str, Callable[[Json], None]] = {
    "empty_name": _empty_name,
    "negative_price": _negative_price,
    "lower_case_currency": _lower_case_currency,
    "line_feed_in_sku": _line_feed_in_sku,
    "sku_twice": _sku_twice,
}
