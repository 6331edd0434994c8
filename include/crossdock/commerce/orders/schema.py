"""The dataset of orders with their lines."""

from __future__ import annotations

from datetime import datetime

import msgspec

from crossdock.sync.dataset import CheckOnly, Cleansed, Count, Dataset, Indexed, JsonList, JsonObject, Personal, Version


class OrderLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of an order: of a product, or a custom one, such as a fee or a voucher."""

    id: str
    #: The stock keeping unit, cleansed; None for a custom line, or a variant without one.
    sku: str | None = None
    #: The SKU as the source sent it, before it was cleansed.
    code: str | None = None
    #: What identifies a custom line in its order; None for a line of a product.
    slug: str | None = None
    product_id: str | None = None
    name: str | None = None
    quantity: int
    #: List price of one unit as exact decimal text, in the order's currency.
    price: str
    #: The same in whole minor units, as the source rounds it.
    price_minor: int
    #: What the line costs after all discounts, tiers and external prices.
    total_minor: int
    #: The kind that the merchant declared for the line's SKU or slug, such as postage or fee; `custom` for other custom lines.
    kind: str | None = None
    #: Whether a discount gave it away.
    gift: bool = False


class Order(
    Dataset, name="orders", table="sales_order", event="crossdock.order.changed", key="order_number", lines="line_count"
):
    """An order with its lines."""

    id: str
    version: Version
    #: The ID for as long as the order has no number.
    order_number: str
    order_state: str
    payment_state: str | None
    shipment_state: str | None
    customer_id: Indexed[str | None]
    customer_email: Personal[str | None]
    #: ISO 3166 alpha-2 code of where it goes; None if the source has none, or several.
    country: str | None
    currency: str
    #: What lines and shipping cost after discounts, in minor units; below zero for a credit note. With or without tax,
    #: as the prices are.
    total_minor: int
    #: Who computes the tax: Platform, External, ExternalAmount, or Disabled.
    tax_mode: str | None
    #: Without tax, and the tax; None as long as the source has no tax for it.
    net_minor: int | None
    tax_minor: int | None
    #: What the customer pays, in minor units: with tax, or the total where the source has no tax for it.
    gross_minor: int | None
    #: What of the total is shipping, and by how much a discount on the total lowered it.
    shipping_minor: int | None
    discount_minor: int | None
    line_count: Count
    #: JSON list of OrderLine.
    lines: JsonList
    shipping_address: Personal[JsonObject | None]
    #: What was returned, as the source has it: items with quantity, shipment state and payment state.
    returns: Personal[JsonList | None]
    #: What was sent, as the source has it: items, parcels and their tracking.
    deliveries: Personal[JsonList | None]
    #: Where the order was exported to, under which ID.
    sync_info: JsonList | None
    #: The discount codes that were entered, each with its state.
    discount_codes: JsonList | None
    #: IDs of its payments.
    payments: JsonList | None
    placed_at: datetime
    last_modified_at: datetime
    lineage: Cleansed | None
    #: The order's total less what its lines, shipping and discount add up to; 0 if it is right.
    total_difference_minor: CheckOnly[int]
    #: Net and tax less gross; 0 if they add up, or there is no tax.
    tax_difference_minor: CheckOnly[int]
    # Text that lists the lines, so that a failure names them; empty if there are none.
    #: Lines whose total does not follow from the price that counts.
    lines_with_wrong_total: CheckOnly[str]
    #: Amounts below zero where none can be, of more than anything costs, or other than their precise amount rounded.
    amounts_implausible: CheckOnly[str]
    #: Lines of 0 units, and those that take units back, or give some in a credit note, without any money for it.
    lines_with_wrong_sign: CheckOnly[str]
    #: Net and gross, if the total is not one of them, or between them.
    tax_of_another_total: CheckOnly[str]
    #: Lines of products with a price of 0 that are no gifts.
    lines_without_price: CheckOnly[str]
    lines_without_sku: CheckOnly[str]
    lines_without_name: CheckOnly[str]
    #: SKUs with control characters, or too long.
    skus_malformed: CheckOnly[str]
    #: Amounts in another currency than the order's.
    amounts_in_other_currency: CheckOnly[str]
