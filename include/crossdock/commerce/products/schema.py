"""The dataset of products with their variants."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from crossdock.db.columns import Column
from crossdock.sync.tables import EntityTable


class Product(NamedTuple):
    """One product. The fields have the order of the table's columns; then follow the check columns."""

    #: The source's own id; opaque.
    id: str
    version: int
    #: The business key; empty if the source has none, and then the record is rejected.
    key: str
    product_type: str | None
    published: bool
    #: Localised texts, JSON: language → text.
    name: str
    slug: str
    description: str | None
    #: Ids of its categories, JSON list.
    categories: str
    master_sku: str
    #: The master variant's first price in minor units; None if it has none.
    price_minor: int | None
    price_currency: str | None
    #: Digits of the currency's minor unit: the price is price_minor / 10^exponent.
    price_exponent: int | None
    #: All variants, the master first, JSON list of sku, key, prices, attributes, images.
    variants: str
    created_at: datetime
    last_modified_at: datetime
    lineage: str | None
    # Check columns: not stored, only for expectations.
    #: Languages with a name that is not blank.
    names_given: int
    #: Variants without a sku.
    variants_without_sku: int
    #: The smallest price of any variant, in minor units; None without prices.
    lowest_price_minor: int | None


PRODUCTS_TABLE = EntityTable(
    name="product",
    columns=(
        Column("id", "text"),
        Column("version", "int8"),
        Column("key", "text"),
        Column("product_type", "text"),
        Column("published", "bool"),
        Column("name", "jsonb"),
        Column("slug", "jsonb"),
        Column("description", "jsonb"),
        Column("categories", "jsonb"),
        Column("master_sku", "text"),
        Column("price_minor", "int8"),
        Column("price_currency", "text"),
        Column("price_exponent", "int8"),
        Column("variants", "jsonb"),
        Column("created_at", "timestamptz"),
        Column("last_modified_at", "timestamptz"),
        Column("lineage", "jsonb"),
    ),
    event_type="crossdock.product.changed",
    partition_column="key",
)
