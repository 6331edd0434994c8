"""The dataset of orders with their lines."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

from crossdock.db.columns import Column
from crossdock.sync.tables import EntityTable

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


class SalesOrder(NamedTuple):
    """One order: the table's columns in their order, then the check columns."""

    id: str
    version: int
    order_number: str
    order_state: str
    payment_state: str | None
    shipment_state: str | None
    customer_id: str | None
    customer_email: str | None
    #: ISO 3166 alpha-2 code of the destination; None if the source has none.
    country: str | None
    currency: str
    #: In minor units; below zero for a credit note.
    total_minor: int
    line_count: int
    #: JSON list of OrderLine.
    lines: str
    shipping_address: str | None
    placed_at: datetime
    last_modified_at: datetime
    lineage: str | None
    # Check columns: only for expectations, not stored.
    #: The order's total less what its lines, discount and shipping add up to; 0 if it is right.
    total_difference_minor: int
    #: Lines whose total is not price times quantity, to the rounding of one minor unit a line.
    lines_with_wrong_total: int
    lowest_price_minor: int | None
    # Text that lists the values, so that a failure shows them; empty if there are none.
    #: Lines whose quantity has the wrong sign: above 0 in a sale, below 0 in a credit note.
    lines_with_wrong_sign: str
    #: Codes of products without a price.
    codes_without_price: str
    #: Codes that are not products and have no kind.
    codes_not_of_products: str
    lines_without_name: int
    lines_in_other_currency: int


ORDERS_TABLE = EntityTable(
    name="sales_order",
    columns=(
        Column("id", "text"),
        Column("version", "int8"),
        Column("order_number", "text"),
        Column("order_state", "text"),
        Column("payment_state", "text"),
        Column("shipment_state", "text"),
        Column("customer_id", "text"),
        Column("customer_email", "text"),
        Column("country", "text"),
        Column("currency", "text"),
        Column("total_minor", "int8"),
        Column("line_count", "int8"),
        Column("lines", "jsonb"),
        Column("shipping_address", "jsonb"),
        Column("placed_at", "timestamptz"),
        Column("last_modified_at", "timestamptz"),
        Column("lineage", "jsonb"),
    ),
    event_type="crossdock.order.changed",
    partition_column="order_number",
    lines_column="line_count",
)
