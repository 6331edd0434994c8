"""The dataset of prices: each with all that makes it that price. A product's own prices and standalone ones are rows of it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from crossdock.sync.dataset import CheckOnly, Cleansed, Dataset, JsonList, Version


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """What one unit costs from a quantity on."""

    minimum_quantity: int
    #: Exact decimal text.
    amount: str
    amount_minor: int


class EmbeddedPrice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A price inside a product, as the product's column `prices` has it. Each field is a column of `Price`."""

    id: str
    sku: str
    variant_id: int
    currency: str
    amount: str
    amount_minor: int
    exponent: int
    active: bool
    country: str | None = None
    customer_group: str | None = None
    channel: str | None = None
    recurrence_policy: str | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    tiers: list[Tier] | None = None
    discounted_amount: str | None = None
    discounted_minor: int | None = None
    discount: str | None = None


class Price(Dataset, name="prices", event="crossdock.price.changed", key="sku", owner="product_id"):
    """A price of one SKU, with its scope, its window, its tiers and its discount."""

    #: The source's ID; of a price inside a product: the product's, the variant's and the price's, with `/` between;
    #: a `/` or `%` of their own is written as in a URL.
    id: str
    #: The source's version; of a price inside a product: the product's when the price became what it is.
    version: Version
    #: Empty for a variant without one.
    sku: str
    #: The product that has it inside, with its variant; None for a standalone price.
    product_id: str | None
    variant_id: int | None
    currency: str
    #: What one unit costs, as exact decimal text.
    amount: str
    #: The same in whole minor units, as the source rounds it.
    amount_minor: int
    #: Digits of the currency's minor unit (ISO 4217): EUR has 2, CLF 4.
    exponent: int
    #: Whom it is for; None: everybody. The country is an ISO 3166 alpha-2 code, the others are the source's IDs.
    country: str | None
    customer_group: str | None
    channel: str | None
    #: The subscription that it is for; None for a single sale.
    recurrence_policy: str | None
    #: From when and until when it is valid; None: no bound.
    valid_from: datetime | None
    valid_until: datetime | None
    #: What it costs from which quantity on, JSON list of minimum_quantity, amount, amount_minor.
    tiers: JsonList | None
    #: What is charged instead while a product discount applies, and that discount's ID.
    discounted_amount: str | None
    discounted_minor: int | None
    discount: str | None
    #: False while it is switched off, and in the event that tells that a product has it no more.
    active: bool
    created_at: datetime
    last_modified_at: datetime
    lineage: Cleansed | None
    #: The amounts that break a rule, each with its place.
    amounts_implausible: CheckOnly[str | None]
    amounts_in_other_currency: CheckOnly[str | None]
    countries_unknown: CheckOnly[str | None]
    tiers_wrong: CheckOnly[str | None]
    discounts_above: CheckOnly[str | None]
