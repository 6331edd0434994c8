"""Products with their variants and prices: commercetools' products as products, and their prices as rows of `prices`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from crossdock.commerce.prices.schema import EmbeddedPrice, Price
from crossdock.commerce.prices.shown_price import shown_price
from crossdock.commerce.products.expectations import EXPECTATIONS
from crossdock.commerce.products.schema import Product
from crossdock.commerce.skus import SKU, WELL_FORMED
from crossdock.connectors.commercetools import price_records as amounts
from crossdock.connectors.commercetools.price_records import PriceRecord
from crossdock.connectors.commercetools.product_records import ProductRecord, Variant
from crossdock.core.printable import is_blank
from crossdock.core.settings import PriceScope, settings
from crossdock.sync import Stream
from crossdock.sync.contract import read_contract
from crossdock.sync.dataset import LONGEST_INDEXED, Columns
from crossdock.sync.lineage import NORMAL_FORM, TRIM, Lineage
from crossdock.sync.parts import Parts
from crossdock.sync.standard_expectations import listed

#: How much of an ID that is too long is shown.
_SHOWN = 40
_is_well_formed = re.compile(WELL_FORMED).match


def to_product(record: ProductRecord, scope: PriceScope, at: datetime) -> Product:
    """Map a product: texts and codes cleansed, every price kept, and the one chosen that *scope* shows at the instant *at*."""
    lineage, shown = Lineage(), record.shown
    variants = shown.all_variants
    skus = [_sku(variant, number, lineage) for number, variant in enumerate(variants, start=1)]
    name = _name(shown.name, lineage)
    prices = [_embedded(record, *one) for one in _prices(variants, skus)]
    of_master = (price for price in prices if variants and price.variant_id == variants[0].id)
    chosen = shown_price(of_master, scope, at)
    suspects = _suspects(variants)
    return Product(
        id=record.id,
        version=record.version,
        key=_key(record, lineage),
        product_type=amounts.id_of(record.product_type),
        published=record.is_published,
        name=_json(name),
        slug=_json(shown.slug),
        description=_json(shown.description) if shown.description else None,
        categories=_json([category.id for category in shown.categories]),
        master_sku=(skus[0] or None) if skus else None,
        price_id=chosen.id if chosen else None,
        price=chosen.amount if chosen else None,
        price_minor=chosen.amount_minor if chosen else None,
        price_currency=chosen.currency if chosen else None,
        price_exponent=chosen.exponent if chosen else None,
        variants=_json([_variant(variant, sku) for variant, sku in zip(variants, skus, strict=True)]),
        prices=_json(prices),
        created_at=record.created_at,
        last_modified_at=record.last_modified_at,
        lineage=lineage.document(),
        names_given=len(name),
        variants_given=len(variants),
        variants_without_sku=listed(f"variant {number}" for number, sku in enumerate(skus, start=1) if not sku),
        skus_malformed=listed(
            f"variant {number}: {sku}" for number, sku in enumerate(skus, start=1) if not _is_well_formed(sku)
        ),
        skus_repeated=listed(_repeated(sku for sku in skus if sku)),
        prices_repeated=listed(_repeated(price.id for price in prices)),
        prices_unstorable=listed(_unstorable(prices)),
        prices_implausible=_of_prices(suspects, amounts.implausible),
        currencies_unknown=_of_prices(suspects, amounts.of_no_currency),
        variants_repeated=listed(_repeated(str(variant.id) for variant in variants)),
        windows_reversed=_of_prices(suspects, amounts.reversed_window),
        tiers_wrong=_of_prices(suspects, amounts.wrong_tiers),
        countries_unknown=_of_prices(suspects, amounts.in_no_country),
        discounts_above=_of_prices(suspects, amounts.raised_by_discount),
        currencies_mixed=_of_prices(suspects, amounts.of_other_currency),
    )


def _key(record: ProductRecord, lineage: Lineage) -> str:
    key = lineage.cleansed("key", record.key or "", TRIM)
    return key or str(lineage.enriched("key", record.id, "ID of the product, which has no key"))


def _name(texts: dict[str, str], lineage: Lineage) -> dict[str, str]:
    clean = {lang: lineage.cleansed(f"name.{lang}", text, TRIM, NORMAL_FORM) for lang, text in texts.items()}
    return {lang: text for lang, text in clean.items() if not is_blank(text)}


def _sku(variant: Variant, number: int, lineage: Lineage) -> str:
    return lineage.cleansed(f"variants.{number}.sku", variant.sku or "", *SKU)


def _variant(variant: Variant, sku: str) -> dict[str, Any]:
    return {
        "id": variant.id,
        "sku": sku,
        "key": variant.key,
        "attributes": {str(attribute.name): attribute.value for attribute in variant.attributes},
        "images": [image.url for image in variant.images],
    }


def _prices(variants: Sequence[Variant], skus: Sequence[str]) -> Iterator[tuple[Variant, str, int, PriceRecord]]:
    """Yield each price with its variant, the variant's SKU, and its number in the variant."""
    for variant, sku in zip(variants, skus, strict=True):
        for number, price in enumerate(variant.prices, start=1):
            yield variant, sku, number, price


def _embedded(record: ProductRecord, variant: Variant, sku: str, number: int, price: PriceRecord) -> EmbeddedPrice:
    """Map a price inside a product. The IDs of two products' prices may be the same: a product may be copied."""
    return EmbeddedPrice(
        id=f"{_part(record.id)}/{variant.id}/{_part(price.id) if price.id else number}",
        sku=sku,
        variant_id=variant.id,
        active=True,
        **amounts.columns_of(price),
        tiers=amounts.tiers_of(price),
    )


def _part(source_id: str) -> str:
    """Write an ID so that it can be joined by `/`: no two products and prices have one ID together."""
    # Those of the platform are UUIDs and stay as they are.
    return source_id.replace("%", "%25").replace("/", "%2F")


def _unstorable(prices: Iterable[EmbeddedPrice]) -> Iterator[str]:
    """Yield the place of each price that is longer than the indexes of its table hold."""
    for price in prices:
        if len(price.id) > LONGEST_INDEXED or len(price.sku) > LONGEST_INDEXED:
            yield f"variant {price.variant_id}: {price.id[:_SHOWN]}"


def _suspects(variants: Sequence[Variant]) -> list[tuple[str, PriceRecord]]:
    """Find the prices that may break a rule, each with its place. Hardly any does, and each rule would look at all."""
    return [
        (f"variant {at}, price {number}", price)
        for at, variant in enumerate(variants, start=1)
        for number, price in enumerate(variant.prices, start=1)
        if not amounts.is_plain(price)
    ]


def _of_prices(suspects: Sequence[tuple[str, PriceRecord]], broken: Callable[[PriceRecord, str], Iterator[str]]) -> str:
    """List the amounts of all *suspects* that are *broken*, each with its place."""
    return listed(found for place, price in suspects for found in broken(price, place)) if suspects else ""


def _repeated(found: Iterable[str]) -> list[str]:
    names = list(found)
    if len(names) == len(set(names)):
        return []
    seen: set[str] = set()
    return [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]  # add says nothing


_encode = msgspec.json.Encoder().encode


def _json(value: Any) -> str:
    return _encode(value).decode()


def _to_columns_of(integration: str) -> Callable[[Sequence[ProductRecord]], Columns]:
    """Make the mapping of one integration's products: each shop may show another price."""

    def to_columns(records: Sequence[ProductRecord]) -> Columns:
        scope, at = settings().price_scope(integration), datetime.now(UTC)
        return Product.columns_of([to_product(record, scope, at) for record in records])

    return to_columns


PRODUCTS = Stream(
    dataset=Product.schema,
    # Not product projections: those hide what is not published, and show staged prices as if customers paid them.
    resource="products",
    key_field="key",
    record_type=ProductRecord,
    to_columns=_to_columns_of(""),
    to_columns_of=_to_columns_of,
    expectations=EXPECTATIONS,
    parts=Parts(Price.schema, column="prices", off="active"),
    # Which price is shown depends on the day and on the declared scope, too: a full read chooses again.
    compares_content=True,
    contract=read_contract(__file__, "products.schema.json"),
    # Batches of 5,000 take 7 % less CPU, but 60 MB more peak memory.
    batch_records=2_500,
    schedule="5 * * * *",
)
