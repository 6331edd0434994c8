"""A product projection of the platform as a product of the hub. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from crossdock.commerce.products.schema import Product
from crossdock.connectors.commercetools.records import Price, ProductProjection, Variant
from crossdock.core.money import currency_exponent
from crossdock.sync.lineage import NORMAL_FORM, TRIM, Lineage


def to_product(record: ProductProjection) -> Product:
    """*record* field by field; names and codes are cleansed, the exponent of the currency is added where it is missing."""
    lineage = Lineage()
    variants = [record.master_variant, *record.variants]
    name = {
        language: lineage.cleansed(f"name.{language}", text, TRIM, NORMAL_FORM)
        for language, text in record.name.items()
    }
    prices = [price.value.cent_amount for variant in variants for price in variant.prices]
    first = record.master_variant.prices[0] if record.master_variant.prices else None
    return Product(
        id=record.id,
        version=record.version,
        key=lineage.cleansed("key", record.key or "", TRIM, NORMAL_FORM),
        product_type=record.product_type.id if record.product_type else None,
        published=record.published,
        name=_json(name),
        slug=_json(record.slug),
        description=_json(record.description) if record.description else None,
        categories=_json([category.id for category in record.categories]),
        master_sku=lineage.cleansed("master_sku", record.master_variant.sku or "", TRIM, NORMAL_FORM),
        price_minor=first.value.cent_amount if first else None,
        price_currency=first.value.currency_code if first else None,
        price_exponent=_exponent(first, lineage) if first else None,
        variants=_json([_variant(variant, number, lineage) for number, variant in enumerate(variants, start=1)]),
        created_at=record.created_at,
        last_modified_at=record.last_modified_at,
        lineage=lineage.document(),
        names_given=sum(bool(text) for text in name.values()),
        variants_without_sku=sum(not (variant.sku or "").strip() for variant in variants),
        lowest_price_minor=min(prices, default=None),
    )


def _exponent(price: Price, lineage: Lineage) -> int:
    money = price.value
    if money.fraction_digits is not None and money.precise_amount is None:
        return money.fraction_digits
    return int(lineage.enriched("price_exponent", currency_exponent(money.currency_code), "ISO 4217"))


def _variant(variant: Variant, number: int, lineage: Lineage) -> dict[str, Any]:
    return {
        "id": variant.id,
        "sku": lineage.cleansed(f"variants.{number}.sku", variant.sku or "", TRIM, NORMAL_FORM),
        "key": variant.key,
        "prices": [
            {"country": price.country, "currency": price.value.currency_code, "minor": price.value.cent_amount}
            for price in variant.prices
        ],
        "attributes": {str(attribute.name): attribute.value for attribute in variant.attributes},
        "images": [image.url for image in variant.images],
    }


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
