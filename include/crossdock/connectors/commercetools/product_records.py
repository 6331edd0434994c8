"""
The fields of a commercetools product that the hub reads: https://docs.commercetools.com/api/projects/products.

A product has its data twice, as customers see it and as staged; a product projection is one of the two with the product's
own fields around it. A record of either form is read.
"""

from __future__ import annotations

from typing import Any

import msgspec

from crossdock.connectors.commercetools.field_types import Instant, Int64, Reference
from crossdock.connectors.commercetools.price_records import PriceRecord


class Attribute(msgspec.Struct, frozen=True, gc=False):
    name: Any = None
    value: Any = None


class Image(msgspec.Struct, frozen=True, gc=False):
    url: Any = None


class Variant(msgspec.Struct, frozen=True, rename="camel", gc=False):
    id: Int64
    sku: str | None = None
    key: str | None = None
    prices: list[PriceRecord] = []
    attributes: list[Attribute] = []
    images: list[Image] = []


class ProductData(msgspec.Struct, frozen=True, rename="camel", kw_only=True, gc=False):
    """What customers see of a product. Without a master variant in the modular catalogue."""

    name: dict[str, str] = {}
    slug: dict[str, str] = {}
    description: dict[str, str] | None = None
    categories: list[Reference] = []
    master_variant: Variant | None = None
    variants: list[Variant] = []

    @property
    def all_variants(self) -> list[Variant]:
        """The variants, the master first."""
        return [*([self.master_variant] if self.master_variant else []), *self.variants]


class CatalogData(msgspec.Struct, frozen=True, rename="camel", gc=False):
    published: bool | None = None
    current: ProductData | None = None
    staged: ProductData | None = None


class ProductRecord(ProductData, frozen=True, rename="camel", kw_only=True, gc=False):
    """A product, or a product projection, which has no `masterData`."""

    id: str
    version: Int64
    created_at: Instant
    last_modified_at: Instant
    product_type: Reference | None = None
    key: str | None = None
    master_data: CatalogData | None = None
    published: bool | None = None

    @property
    def is_published(self) -> bool | None:
        return self.master_data.published if self.master_data else self.published

    @property
    def shown(self) -> ProductData:
        """What customers see; of a product that is not on sale, what they will see."""
        catalog = self.master_data
        if catalog is None:
            return self
        return (catalog.current if catalog.published else catalog.staged or catalog.current) or ProductData()
