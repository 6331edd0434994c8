"""
Records as commercetools sends them, as far as the hub reads them.

Only types are checked here (a number is a number, a date is one, both fit the database); what a value
should be is for the expectations of the flow. Records hold no cycles, so the garbage collector is told not to follow
them (`gc=False`): it would look at each of a hundred thousand again and again, at twice the cost of decoding them. Source: the vendor's OpenAPI, schemas InventoryEntry, ProductProjection and Order.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

#: What a PostgreSQL bigint holds.
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
#: An instant with its zone; one without is nobody's time.
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Reference(msgspec.Struct, frozen=True, gc=False):
    id: str


class InventoryEntry(msgspec.Struct, frozen=True, rename="camel", gc=False):
    id: str
    version: Int64
    quantity_on_stock: Int64
    available_quantity: Int64
    created_at: Instant
    last_modified_at: Instant
    sku: str | None = None
    supply_channel: Reference | None = None
    restockable_in_days: Int64 | None = None
    expected_delivery: Instant | None = None


class Money(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Cents, or more exactly where the platform has it (`highPrecision`)."""

    currency_code: str
    cent_amount: Int64
    fraction_digits: int | None = None
    precise_amount: Int64 | None = None


class Price(msgspec.Struct, frozen=True, rename="camel", gc=False):
    value: Money
    country: str | None = None


class Attribute(msgspec.Struct, frozen=True, gc=False):
    name: Any = None
    value: Any = None


class Image(msgspec.Struct, frozen=True, gc=False):
    url: Any = None


class Variant(msgspec.Struct, frozen=True, rename="camel", gc=False):
    id: int
    sku: str | None = None
    key: str | None = None
    prices: list[Price] = []
    attributes: list[Attribute] = []
    images: list[Image] = []


class ProductProjection(msgspec.Struct, frozen=True, rename="camel", gc=False):
    id: str
    version: Int64
    name: dict[str, str]
    slug: dict[str, str]
    published: bool
    created_at: Instant
    last_modified_at: Instant
    master_variant: Variant
    variants: list[Variant] = []
    categories: list[Reference] = []
    product_type: Reference | None = None
    key: str | None = None
    description: dict[str, str] | None = None


class LineVariant(msgspec.Struct, frozen=True, gc=False):
    sku: str | None = None


class Custom(msgspec.Struct, frozen=True, gc=False):
    fields: dict[str, Any] = {}


class LineItem(msgspec.Struct, frozen=True, rename="camel", gc=False):
    id: str
    quantity: Int64
    price: Price
    variant: LineVariant
    total_price: Money
    name: dict[str, str] = {}
    custom: Custom | None = None


class ShippingInfo(msgspec.Struct, frozen=True, gc=False):
    price: Money


class Discount(msgspec.Struct, frozen=True, rename="camel", gc=False):
    discounted_amount: Money


class Order(msgspec.Struct, frozen=True, rename="camel", gc=False):
    id: str
    version: Int64
    order_state: str
    total_price: Money
    created_at: Instant
    last_modified_at: Instant
    line_items: list[LineItem]
    order_number: str | None = None
    payment_state: str | None = None
    shipment_state: str | None = None
    customer_id: str | None = None
    customer_email: str | None = None
    country: str | None = None
    shipping_address: dict[str, Any] | None = None
    shipping_info: ShippingInfo | None = None
    discount_on_total_price: Discount | None = None
