"""
The parts of commercetools' order that the hub reads.

Source: the vendor's OpenAPI, schema Order and what it refers to. What is optional there is optional here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from crossdock.connectors.commercetools.field_types import Instant, Int64, Money, Reference
from crossdock.connectors.commercetools.price_records import UnitPrice


class Valued(msgspec.Struct, frozen=True, gc=False):
    """A discounted price, without the discounts that lowered it."""

    value: Money


class Portion(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Those units of a line that cart discounts lowered to one price."""

    quantity: Int64
    discounted_price: Valued


class LineVariant(msgspec.Struct, frozen=True, gc=False):
    sku: str | None = None


class LineItem(msgspec.Struct, frozen=True, rename="camel", gc=False):
    id: str
    quantity: Int64
    price: UnitPrice
    variant: LineVariant
    total_price: Money
    name: dict[str, str] = {}
    product_id: str | None = None
    price_mode: str = "Platform"
    line_item_mode: str = "Standard"
    discounted_price_per_quantity: list[Portion] = []
    #: Orders made before 2015 have it in place of portions.
    discounted_price: Valued | None = None


class CustomLineItem(msgspec.Struct, frozen=True, rename="camel", gc=False):
    id: str
    quantity: Int64
    money: Money
    total_price: Money
    slug: str | None = None
    name: dict[str, str] = {}
    discounted_price_per_quantity: list[Portion] = []
    discounted_price: Valued | None = None


class ShippingInfo(msgspec.Struct, frozen=True, rename="camel", gc=False):
    price: Money
    discounted_price: Valued | None = None
    deliveries: list[dict[str, Any]] = []


class Shipping(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """One of several shippings of an order (shipping mode Multiple)."""

    shipping_info: ShippingInfo | None = None
    shipping_address: dict[str, Any] | None = None


class Discount(msgspec.Struct, frozen=True, rename="camel", gc=False):
    discounted_amount: Money


class TaxedPrice(msgspec.Struct, frozen=True, rename="camel", gc=False):
    total_net: Money
    total_gross: Money
    total_tax: Money | None = None


class PaymentInfo(msgspec.Struct, frozen=True, gc=False):
    payments: list[Reference] = []


class OrderRecord(msgspec.Struct, frozen=True, rename="camel", gc=False):
    id: str
    version: Int64
    order_state: str
    total_price: Money
    created_at: Instant
    last_modified_at: Instant
    line_items: list[LineItem]
    custom_line_items: list[CustomLineItem] = []
    order_number: str | None = None
    payment_state: str | None = None
    shipment_state: str | None = None
    customer_id: str | None = None
    customer_email: str | None = None
    country: str | None = None
    shipping_address: dict[str, Any] | None = None
    item_shipping_addresses: list[dict[str, Any]] = []
    shipping_mode: str = "Single"
    shipping_info: ShippingInfo | None = None
    shipping: list[Shipping] = []
    discount_on_total_price: Discount | None = None
    tax_mode: str | None = None
    taxed_price: TaxedPrice | None = None
    return_info: list[dict[str, Any]] = []
    sync_info: list[dict[str, Any]] = []
    discount_codes: list[dict[str, Any]] = []
    payment_info: PaymentInfo | None = None
