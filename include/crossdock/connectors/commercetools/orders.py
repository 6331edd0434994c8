"""Orders with their lines: commercetools' orders as orders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from crossdock.commerce.orders.expectations import EXPECTATIONS
from crossdock.commerce.orders.schema import Order, OrderLine
from crossdock.commerce.skus import SKU, WELL_FORMED
from crossdock.connectors.commercetools import order_amounts as amounts
from crossdock.connectors.commercetools.field_types import Money
from crossdock.connectors.commercetools.order_records import CustomLineItem, LineItem, OrderRecord
from crossdock.core.money import decimal_text, is_plausible_price
from crossdock.core.settings import settings
from crossdock.sync import Stream
from crossdock.sync.contract import read_contract
from crossdock.sync.lineage import NORMAL_FORM, TRIM, Lineage
from crossdock.sync.standard_expectations import listed

_is_well_formed = re.compile(WELL_FORMED).match


def to_order(record: OrderRecord) -> Order:
    """Map an order and its lines: codes and texts trimmed, sums compared for the expectations."""
    lineage = Lineage()
    kinds = settings().line_kinds
    goods = [_line(item, number, lineage, kinds) for number, item in enumerate(record.line_items, start=1)]
    custom = [
        _custom_line(item, number, lineage, kinds) for number, item in enumerate(record.custom_line_items, start=1)
    ]
    lines = [*goods, *custom]
    shipping = [amounts.shipping_price(one) for one in amounts.shippings_of(record)]
    taxed, payments = record.taxed_price, record.payment_info
    return Order(
        id=record.id,
        version=record.version,
        order_number=_order_number(record, lineage),
        order_state=record.order_state,
        payment_state=record.payment_state,
        shipment_state=record.shipment_state,
        customer_id=record.customer_id,
        customer_email=record.customer_email,
        country=_destination(record),
        currency=record.total_price.currency_code,
        total_minor=record.total_price.cent_amount,
        tax_mode=record.tax_mode,
        net_minor=taxed.total_net.cent_amount if taxed else None,
        tax_minor=taxed.total_gross.cent_amount - taxed.total_net.cent_amount if taxed else None,
        gross_minor=(taxed.total_gross if taxed else record.total_price).cent_amount,
        shipping_minor=sum(price.cent_amount for price in shipping) if shipping else None,
        discount_minor=amounts.discount_minor(record) if record.discount_on_total_price else None,
        line_count=len(lines),
        lines=_json(lines),
        shipping_address=_json_or_none(record.shipping_address),
        returns=_json_or_none(record.return_info),
        deliveries=_json_or_none([one for info in amounts.shippings_of(record) for one in info.deliveries]),
        sync_info=_json_or_none(record.sync_info),
        discount_codes=_json_or_none(record.discount_codes),
        payments=_json_or_none([payment.id for payment in payments.payments] if payments else []),
        placed_at=record.created_at,
        last_modified_at=record.last_modified_at,
        lineage=lineage.document(),
        total_difference_minor=record.total_price.cent_amount - amounts.expected_total_minor(record),
        tax_difference_minor=amounts.tax_difference_minor(record),
        lines_with_wrong_total=_listed(
            [
                *(
                    _label(line, item.total_price)
                    for line, item in _pairs(goods, record)
                    if not amounts.line_total_is_right(item)
                ),
                *(
                    f"{item.slug or item.id} {item.total_price.cent_amount}"
                    for item in record.custom_line_items
                    if not amounts.custom_total_is_right(item)
                ),
            ]
        ),
        lines_with_implausible_price=_listed(
            _label(line, item.price.value) for line, item in _pairs(goods, record) if not _is_plausible(item)
        ),
        lines_with_wrong_sign=_listed(
            f"{_name_of(line)} x {line.quantity}" for line in goods if not _sign_is_right(record, line.quantity)
        ),
        lines_without_price=_listed(_name_of(line) for line in goods if not line.gift and _is_free(line.price)),
        lines_without_sku=_listed(_name_of(line) for line in goods if line.sku is None),
        lines_without_name=_listed(_name_of(line) for line in lines if line.name is None),
        skus_malformed=_listed(line.sku for line in goods if line.sku and not _is_well_formed(line.sku)),
        amounts_in_other_currency=_listed(amounts.amounts_in_other_currency(record)),
    )


def _pairs(goods: list[OrderLine], record: OrderRecord) -> Iterable[tuple[OrderLine, LineItem]]:
    return zip(goods, record.line_items, strict=True)


def _is_plausible(item: LineItem) -> bool:
    return is_plausible_price(item.price.value.cent_amount, item.price.value.currency_code)


def _line(item: LineItem, number: int, lineage: Lineage, kinds: Mapping[str, str]) -> OrderLine:
    code = item.variant.sku or None
    sku = lineage.cleansed(f"lines.{number}.sku", code, *SKU) if code else None
    price = item.price.value
    return OrderLine(
        id=item.id,
        sku=sku or None,
        code=code,
        product_id=item.product_id,
        name=_text(item.name, f"lines.{number}.name", lineage),
        quantity=item.quantity,
        price=_decimal(price),
        price_minor=price.cent_amount,
        total_minor=item.total_price.cent_amount,
        kind=kinds.get(sku) if sku else None,
        gift=item.line_item_mode == "GiftLineItem",
    )


def _custom_line(item: CustomLineItem, number: int, lineage: Lineage, kinds: Mapping[str, str]) -> OrderLine:
    return OrderLine(
        id=item.id,
        slug=item.slug,
        name=_text(item.name, f"custom_lines.{number}.name", lineage) or item.slug,
        quantity=item.quantity,
        price=_decimal(item.money),
        price_minor=item.money.cent_amount,
        total_minor=item.total_price.cent_amount,
        kind=kinds.get(item.slug, "custom") if item.slug else "custom",
    )


def _order_number(record: OrderRecord, lineage: Lineage) -> str:
    """Give the number, or the ID for as long as there is none."""
    number = lineage.cleansed("order_number", record.order_number or "", TRIM)
    return number or str(lineage.enriched("order_number", record.id, "ID of the order, which has no number"))


def _destination(record: OrderRecord) -> str | None:
    """Give the country where all of it goes: of the delivery, else the one by which its prices and taxes were chosen."""
    addresses = [
        record.shipping_address,
        *(one.shipping_address for one in record.shipping),
        *record.item_shipping_addresses,
    ]
    countries = {address["country"] for address in addresses if address and isinstance(address.get("country"), str)}
    if not countries:
        return record.country
    return next(iter(countries)) if len(countries) == 1 else None


def _text(texts: dict[str, str], field: str, lineage: Lineage) -> str | None:
    """Choose the English text, else the first that is not blank."""
    chosen = texts.get("en", "")
    if not chosen.strip():
        chosen = next((text for text in texts.values() if text.strip()), "")
    return lineage.cleansed(field, chosen, TRIM, NORMAL_FORM) or None


def _decimal(price: Money) -> str:
    """Format the price with every digit that commercetools has."""
    exact = price.cent_amount if price.precise_amount is None else price.precise_amount
    return decimal_text(exact, amounts.digits_of(price))


def _sign_is_right(record: OrderRecord, quantity: int) -> bool:
    """Check the sign: positive in a sale, negative in a credit note (total below zero)."""
    return quantity < 0 if record.total_price.cent_amount < 0 else quantity > 0


def _name_of(line: OrderLine) -> str:
    """Name the line for a person, also one without a code."""
    return line.sku or line.slug or f"line {line.id}"


def _label(line: OrderLine, amount: Money) -> str:
    return f"{_name_of(line)} {amount.cent_amount}"


def _listed(texts: Iterable[str]) -> str:
    """Join the distinct texts, sorted."""
    return listed(sorted(set(texts)))


def _is_free(price: str) -> bool:
    return not price.strip("0.-")


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _json_or_none(value: Any) -> str | None:
    return _json(value) if value else None


ORDERS = Stream(
    dataset=Order.schema,
    resource="orders",
    key_field="orderNumber",
    record_type=OrderRecord,
    to_columns=lambda records: Order.columns_of([to_order(record) for record in records]),
    expectations=EXPECTATIONS,
    lines_fields=("lineItems", "customLineItems"),
    contract=read_contract(__file__, "orders.schema.json"),
    # A wholesaler's order is as large as a hundred stock levels.
    page_records=200,
    # Batches of 1,000 take 10 % less CPU, but 65 MB more peak memory.
    batch_records=400,
    schedule="*/10 * * * *",
)
