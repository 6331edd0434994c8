"""The dataset of products with their variants."""

from __future__ import annotations

from datetime import datetime

from crossdock.sync.dataset import CheckOnly, Cleansed, Dataset, JsonList, JsonObject, Version


class Product(Dataset, name="products", table="product", event="crossdock.product.changed", key="key"):
    """A product with its variants."""

    #: The source's own id; opaque.
    id: str
    version: Version
    #: The business key; empty if the source has none, and then the record is rejected.
    key: str
    product_type: str | None
    published: bool
    #: Localised texts, JSON: language → text.
    name: JsonObject
    slug: JsonObject
    description: JsonObject | None
    #: Ids of its categories, JSON list.
    categories: JsonList
    master_sku: str
    #: The master variant's first price in minor units; None if it has none.
    price_minor: int | None
    price_currency: str | None
    #: Digits of the currency's minor unit: the price is price_minor / 10^exponent.
    price_exponent: int | None
    #: All variants, the master first, JSON list of sku, key, prices, attributes, images.
    variants: JsonList
    created_at: datetime
    last_modified_at: datetime
    lineage: Cleansed | None
    #: Languages with a name that is not blank.
    names_given: CheckOnly[int]
    #: Variants without a sku.
    variants_without_sku: CheckOnly[int]
    #: The smallest price of any variant, in minor units; None without prices.
    lowest_price_minor: CheckOnly[int | None]
