"""Orders with their lines: commercetools' orders as orders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from crossdock.commerce.orders.expectations import EXPECTATIONS
from crossdock.commerce.orders.schema import Order, OrderLine
from crossdock.commerce.skus import SKU, WELL_FORMED
from crossdock.connectors.commercetools import order_amounts as amounts
from crossdock.connectors.commercetools.field_types import Money, amount_of
from crossdock.connectors.commercetools.order_records import CustomLineItem, LineItem, OrderRecord
from crossdock.connectors.commercetools.price_records import described
from crossdock.core.money import is_plausible_price
from crossdock.core.printable import is_blank
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
    products = [_line(item, number, lineage, kinds) for number, item in enumerate(record.line_items, start=1)]
    custom = [
        _custom_line(item, number, lineage, kinds) for number, item in enumerate(record.custom_line_items, start=1)
    ]
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
        **_sums(record),
        line_count=len(products) + len(custom),
        lines=_json([*products, *custom]),
        **_documents(record),
        placed_at=record.created_at,
        last_modified_at=record.last_modified_at,
        lineage=lineage.document(),
        **_checks(record, products, custom),
    )


def _sums(record: OrderRecord) -> dict[str, Any]:
    """Map what the order costs, in minor units of its currency."""
    shipping = [amounts.shipping_price(one) for one in amounts.shippings_of(record)]
    taxed = record.taxed_price
    return {
        "currency": record.total_price.currency_code,
        "total_minor": record.total_price.cent_amount,
        "tax_mode": record.tax_mode,
        "net_minor": taxed.total_net.cent_amount if taxed else None,
        "tax_minor": taxed.total_gross.cent_amount - taxed.total_net.cent_amount if taxed else None,
        "gross_minor": (taxed.total_gross if taxed else record.total_price).cent_amount,
        "shipping_minor": sum(price.cent_amount for price in shipping) if shipping else None,
        "discount_minor": amounts.discount_minor(record) if record.discount_on_total_price else None,
    }


def _documents(record: OrderRecord) -> dict[str, Any]:
    """Map what is kept as JSON, as the source sent it."""
    payments = record.payment_info
    return {
        "shipping_address": _json_or_none(record.shipping_address),
        "returns": _json_or_none(record.return_info),
        "deliveries": _json_or_none([one for info in amounts.shippings_of(record) for one in info.deliveries]),
        "sync_info": _json_or_none(record.sync_info),
        "discount_codes": _json_or_none(record.discount_codes),
        "payments": _json_or_none([payment.id for payment in payments.payments] if payments else []),
    }


def _checks(record: OrderRecord, products: list[OrderLine], custom: list[OrderLine]) -> dict[str, Any]:
    """Compare the sums, and list what breaks a rule."""
    pairs = list(zip(products, record.line_items, strict=True))
    return {
        "total_difference_minor": record.total_price.cent_amount - amounts.expected_total_minor(record),
        "tax_difference_minor": amounts.tax_difference_minor(record),
        "lines_with_wrong_total": listed(_wrong_totals(record, pairs)),
        "amounts_implausible": listed(_implausible(record, pairs)),
        "lines_with_wrong_sign": listed(
            f"{_name_of(line)} x {line.quantity}" for line in products if not _sign_is_right(record, line)
        ),
        "tax_of_another_total": amounts.tax_of_another_total(record),
        "lines_without_price": listed(_name_of(line) for line in products if not line.gift and _is_free(line.price)),
        "lines_without_sku": listed(_name_of(line) for line in products if line.sku is None),
        "lines_without_name": listed(_name_of(line) for line in (*products, *custom) if line.name is None),
        "skus_malformed": listed(line.sku for line in products if line.sku and not _is_well_formed(line.sku)),
        "amounts_in_other_currency": listed(amounts.amounts_in_other_currency(record)),
    }


def _wrong_totals(record: OrderRecord, pairs: Iterable[tuple[OrderLine, LineItem]]) -> Iterator[str]:
    for line, item in pairs:
        if not amounts.line_total_is_right(item):
            yield _label(line, item.total_price)
    for custom in record.custom_line_items:
        if not amounts.custom_total_is_right(custom):
            yield f"{custom.slug or custom.id} {custom.total_price.cent_amount}"


def _implausible(record: OrderRecord, pairs: Iterable[tuple[OrderLine, LineItem]]) -> Iterator[str]:
    for line, item in pairs:
        price = item.price.value
        if amounts.is_plain(item) and is_plausible_price(price.cent_amount, price.currency_code):
            continue  # half a million lines of a year; its total is the price of each unit
        for part, money in amounts.implausible_of_line(item):
            yield f"{_name_of(line)}{part} {described(money)}"
    yield from amounts.implausible_beside_lines(record)


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
        price=amount_of(price),
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
        price=amount_of(item.money),
        price_minor=item.money.cent_amount,
        total_minor=item.total_price.cent_amount,
        kind=kinds.get(item.slug, "custom") if item.slug else "custom",
    )


def _order_number(record: OrderRecord, lineage: Lineage) -> str:
    """Give the number, or the ID for as long as there is none."""
    number = lineage.cleansed("order_number", record.order_number or "", TRIM)
    return number or str(lineage.enriched("order_number", record.id, "ID of the order, which has no number"))


def _destination(record: OrderRecord) -> str | None:
    """
    Give the one country that all of it goes to; None if there are several.

    Without a delivery address it is the country by which the platform chose prices and taxes.
    """
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
    if is_blank(chosen):
        chosen = next((text for text in texts.values() if not is_blank(text)), "")
    return lineage.cleansed(field, chosen, TRIM, NORMAL_FORM) or None


def _sign_is_right(record: OrderRecord, line: OrderLine) -> bool:
    """
    Check the sign of the units: positive in a sale, negative in a credit note (total below zero).

    Where money goes with the units, it may be the other one: an exchange takes goods back and sells others.
    """
    if line.quantity * line.total_minor > 0:
        return True
    return line.quantity < 0 if record.total_price.cent_amount < 0 else line.quantity > 0


def _name_of(line: OrderLine) -> str:
    """Name the line for a person: by its SKU, its slug, or else its ID."""
    return line.sku or line.slug or f"line {line.id}"


def _label(line: OrderLine, amount: Money) -> str:
    return f"{_name_of(line)} {amount.cent_amount}"


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
