"""The dataset of orders with their lines."""

from __future__ import annotations

from datetime import datetime

import msgspec

from crossdock.sync.dataset import CheckOnly, Cleansed, Count, Dataset, JsonList, JsonObject, Personal, Version

#: Kinds of lines that are not products.
LINE_KINDS = frozenset(
    {"postage", "carriage", "discount", "fee", "gift", "voucher", "manual", "adjustment", "sample", "service"}
)


class OrderLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of an order."""

    id: str
    #: The stock keeping unit, cleansed.
    sku: str
    #: The same as the source sent it.
    code: str
    name: str | None = None
    quantity: int
    #: Price of one unit as exact decimal text, in the order's currency.
    price: str
    #: The same in whole minor units, as the source rounds it.
    price_minor: int
    total_minor: int
    #: The kind of a line that is not a product: postage, discount, fee.
    kind: str | None = None


class Order(
    Dataset, name="orders", table="sales_order", event="crossdock.order.changed", key="order_number", lines="line_count"
):
    """An order with its lines."""

    id: str
    version: Version
    order_number: str
    order_state: str
    payment_state: str | None
    shipment_state: str | None
    customer_id: str | None
    customer_email: Personal[str | None]
    #: ISO 3166 alpha-2 code of the destination; None if the source has none.
    country: str | None
    currency: str
    #: In minor units; below zero for a credit note.
    total_minor: int
    line_count: Count
    #: JSON list of OrderLine.
    lines: JsonList
    shipping_address: Personal[JsonObject | None]
    placed_at: datetime
    last_modified_at: datetime
    lineage: Cleansed | None
    #: The order's total less what its lines, discount and shipping add up to; 0 if it is right.
    total_difference_minor: CheckOnly[int]
    #: Lines whose total is not price times quantity, to the rounding of one minor unit a line.
    lines_with_wrong_total: CheckOnly[int]
    lowest_price_minor: CheckOnly[int | None]
    # Text that lists the values, so that a failure shows them; empty if there are none.
    #: Lines whose quantity has the wrong sign: above 0 in a sale, below 0 in a credit note.
    lines_with_wrong_sign: CheckOnly[str]
    #: Codes of products without a price.
    codes_without_price: CheckOnly[str]
    #: Codes that are not products and have no kind.
    codes_not_of_products: CheckOnly[str]
    lines_without_name: CheckOnly[int]
    lines_in_other_currency: CheckOnly[int]
