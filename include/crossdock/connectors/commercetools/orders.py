"""Orders with their lines: commercetools' orders as orders."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from crossdock.commerce.orders.expectations import EXPECTATIONS
from crossdock.commerce.orders.schema import Order, OrderLine
from crossdock.connectors.commercetools.field_types import Instant, Int64, Money, Price
from crossdock.core.money import currency_exponent, decimal_text
from crossdock.sync import Stream
from crossdock.sync.contract import read_contract
from crossdock.sync.lineage import NORMAL_FORM, TRIM, UPPER, Lineage

#: Codes of goods: groups of letters and digits with at least three digits in a row (85123A, DCGS0058,
#: SNK-000002-BLK-XS). POST, DOT, M and BANK CHARGES do not match.
_GOODS = re.compile(r"^(?=.*\d{3})[A-Z0-9]+([-_. ][A-Z0-9]+)*$")
#: Codes with digits that are not goods: tests and vouchers.
_NOT_GOODS = re.compile(r"^(TEST|GIFT)")


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


class OrderRecord(msgspec.Struct, frozen=True, rename="camel", gc=False):
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


def to_order(record: OrderRecord) -> Order:
    """Map an order and its lines: codes in upper case, texts trimmed, sums computed for the expectations."""
    lineage = Lineage()
    items = record.line_items
    lines = [_line(item, number, lineage) for number, item in enumerate(items, start=1)]
    currency = record.total_price.currency_code
    goods = [line for line in lines if line.kind is None]
    return Order(
        id=record.id,
        version=record.version,
        order_number=lineage.cleansed("order_number", record.order_number or "", TRIM),
        order_state=record.order_state,
        payment_state=record.payment_state,
        shipment_state=record.shipment_state,
        customer_id=record.customer_id,
        customer_email=record.customer_email,
        country=record.country or (record.shipping_address or {}).get("country"),
        currency=currency,
        total_minor=record.total_price.cent_amount,
        line_count=len(lines),
        lines=msgspec.json.encode(lines).decode(),
        shipping_address=msgspec.json.encode(record.shipping_address).decode() if record.shipping_address else None,
        placed_at=record.created_at,
        last_modified_at=record.last_modified_at,
        lineage=lineage.document(),
        total_difference_minor=record.total_price.cent_amount - _expected_total_minor(record),
        lines_with_wrong_total=sum(not _total_is_right(item) for item in items),
        lowest_price_minor=min((line.price_minor for line in lines), default=None),
        lines_with_wrong_sign=_listed(
            f"{line.sku} x {line.quantity}" for line in lines if not _sign_is_right(record, line.quantity)
        ),
        codes_without_price=_listed(line.sku for line in goods if _is_free(line.price)),
        codes_not_of_products=_listed(line.sku for line in goods if not is_goods(line.sku)),
        lines_without_name=sum(line.name is None for line in lines),
        lines_in_other_currency=sum(item.price.value.currency_code != currency for item in items),
    )


def is_goods(sku: str) -> bool:
    """Check whether *sku* looks like the code of physical goods."""
    return bool(_GOODS.match(sku)) and not _NOT_GOODS.match(sku)


def _line(item: LineItem, number: int, lineage: Lineage) -> OrderLine:
    code = item.variant.sku or ""
    price = item.price.value
    kind = item.custom.fields.get("kind") if item.custom else None
    return OrderLine(
        id=item.id,
        sku=lineage.cleansed(f"lines.{number}.sku", code, TRIM, NORMAL_FORM, UPPER),
        code=code,
        name=_name(item, number, lineage),
        quantity=item.quantity,
        price=_exact(price),
        price_minor=price.cent_amount,
        total_minor=item.total_price.cent_amount,
        kind=kind if isinstance(kind, str) and kind else None,
    )


def _exact(price: Money) -> str:
    """Format the price with every digit that commercetools has."""
    digits = currency_exponent(price.currency_code) if price.fraction_digits is None else price.fraction_digits
    return decimal_text(price.cent_amount if price.precise_amount is None else price.precise_amount, digits)


def _name(item: LineItem, number: int, lineage: Lineage) -> str | None:
    text = item.name.get("en") or next(iter(item.name.values()), "")
    return lineage.cleansed(f"lines.{number}.name", text, TRIM, NORMAL_FORM) or None


def _expected_total_minor(record: OrderRecord) -> int:
    lines = sum(item.total_price.cent_amount for item in record.line_items)
    discount = record.discount_on_total_price.discounted_amount.cent_amount if record.discount_on_total_price else 0
    shipping = record.shipping_info.price.cent_amount if record.shipping_info else 0
    return lines - discount + shipping


def _total_is_right(item: LineItem) -> bool:
    """Compare within one minor unit: a finer price is rounded once, on the line's total."""
    price = item.price.value
    if price.precise_amount is None:
        return bool(item.total_price.cent_amount == price.cent_amount * item.quantity)
    exponent = currency_exponent(price.currency_code)
    finer: int = 10 ** max((price.fraction_digits or exponent) - exponent, 0)
    return abs(item.total_price.cent_amount * finer - price.precise_amount * item.quantity) <= finer


def _sign_is_right(record: OrderRecord, quantity: int) -> bool:
    """Check the sign: positive in a sale, negative in a credit note (total below zero)."""
    return quantity < 0 if record.total_price.cent_amount < 0 else quantity > 0


def _listed(texts: Iterable[str]) -> str:
    """Join the distinct texts, sorted."""
    return ", ".join(sorted(set(texts)))


def _is_free(price: str) -> bool:
    return not price.strip("0.-")


ORDERS = Stream(
    dataset=Order.schema,
    resource="orders",
    key_field="orderNumber",
    record_type=OrderRecord,
    to_columns=lambda records: Order.columns_of([to_order(record) for record in records]),
    expectations=EXPECTATIONS,
    lines_field="lineItems",
    contract=read_contract(__file__, "orders.schema.json"),
    # A wholesaler's order is as large as a hundred stock levels.
    page_records=200,
    # Batches of 1,000 take 10 % less CPU, but 65 MB more peak memory.
    batch_records=400,
    schedule="*/10 * * * *",
)
