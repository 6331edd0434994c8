"""The dataset of products with their variants."""

from __future__ import annotations

from datetime import datetime

from crossdock.sync.dataset import CheckOnly, Cleansed, Dataset, Indexed, JsonList, JsonObject, Version


class Product(Dataset, name="products", table="product", event="crossdock.product.changed", key="key"):
    """A product with its variants."""

    #: The source's own id; opaque.
    id: str
    version: Version
    #: The business key; the ID where the product has none.
    key: str
    product_type: str | None
    #: Whether it is on sale; None where the source does not say.
    published: bool | None
    #: Localised texts, JSON: language → text. Blank ones are left out.
    name: JsonObject
    slug: JsonObject
    description: JsonObject | None
    #: Ids of its categories, JSON list.
    categories: JsonList
    #: None where the master variant has none.
    master_sku: Indexed[str | None]
    #: The price that the master variant shows, by the declared scope when it was read: its ID in `prices`, what one unit
    #: costs as exact decimal text, and the same in minor units. None if no price inside the product is for that scope.
    price_id: str | None
    price: str | None
    price_minor: int | None
    price_currency: str | None
    #: Digits of the currency's minor unit: the price is about price_minor / 10^exponent.
    price_exponent: int | None
    #: All variants, the master first, JSON list of sku, key, attributes, images.
    variants: JsonList
    #: All prices inside the product, JSON list; the dataset `prices` has them as rows.
    prices: JsonList | None
    created_at: datetime
    last_modified_at: datetime
    lineage: Cleansed | None
    #: Languages with a name that is not blank.
    names_given: CheckOnly[int | None]
    #: How many variants it has; none in a catalogue model that the hub does not read.
    variants_given: CheckOnly[int | None]
    #: What breaks a rule, each with its place: `variant 2, price 1: eur`.
    variants_without_sku: CheckOnly[str | None]
    skus_malformed: CheckOnly[str | None]
    skus_repeated: CheckOnly[str | None]
    prices_repeated: CheckOnly[str | None]
    #: Prices whose ID or SKU is longer than an index holds.
    prices_unstorable: CheckOnly[str | None]
    prices_implausible: CheckOnly[str | None]
    #: IDs that two variants have.
    variants_repeated: CheckOnly[str | None]
    windows_reversed: CheckOnly[str | None]
    tiers_wrong: CheckOnly[str | None]
    countries_unknown: CheckOnly[str | None]
    discounts_above: CheckOnly[str | None]
    currencies_unknown: CheckOnly[str | None]
    currencies_mixed: CheckOnly[str | None]
