"""
The sums of an order, by the vendor's own rules: https://docs.commercetools.com/api/projects/carts and …/orders.

Each function quotes the sentence that it follows. Amounts are integers of minor units; a finer price is compared exactly, in
units of its own digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crossdock.connectors.commercetools.field_types import Money, is_plausible, is_rounded, units_of
from crossdock.connectors.commercetools.order_records import (
    CustomLineItem,
    LineItem,
    OrderRecord,
    Portion,
    ShippingInfo,
    Valued,
)
from crossdock.connectors.commercetools.price_records import UnitPrice, described, moneys_of
from crossdock.core.money import currency_exponent, largest_price_minor

#: Where an amount is, in pieces: they are joined for the few that are named, and a year of orders has two million amounts.
Place = tuple[str, ...]


def shippings_of(record: OrderRecord) -> list[ShippingInfo]:
    """List the shippings: "shippingInfo: … for Single ShippingMode", "shipping: … for Multiple ShippingMode"."""
    if record.shipping_mode == "Multiple":
        return [one.shipping_info for one in record.shipping if one.shipping_info]
    return [record.shipping_info] if record.shipping_info else []


def shipping_price(shipping: ShippingInfo) -> Money:
    """Give what a shipping costs: "discountedPrice: discounted price of the Shipping Method", else its price."""
    return shipping.discounted_price.value if shipping.discounted_price else shipping.price


def expected_total_minor(record: OrderRecord) -> int:
    """
    Add up what the order's total must be.

    "Sum of the totalPrice field of all LineItems and CustomLineItems, and if available, the price field of ShippingInfo. If
    a discount applies on totalPrice, this field holds the discounted value."
    """
    lines = sum(line.total_price.cent_amount for line in record.line_items)
    lines += sum(line.total_price.cent_amount for line in record.custom_line_items)
    shipping = sum(shipping_price(one).cent_amount for one in shippings_of(record))
    return int(lines + shipping - discount_minor(record))


def discount_minor(record: OrderRecord) -> int:
    """Give by how much a discount on the total lowered it."""
    discount = record.discount_on_total_price
    return discount.discounted_amount.cent_amount if discount else 0


def line_total_is_right(line: LineItem) -> bool:
    """
    Check that a line's total follows from the price that counts.

    "Total price of this Line Item equalling price multiplied by quantity. If the Line Item is discounted, the total price is
    the discountedPricePerQuantity multiplied by quantity." "If set, the Cart uses the discounted value for the Line Item
    price calculation", else the tier for the quantity. A gift costs nothing. "ExternalTotal: … totalPrice are set externally".
    """
    total = line.total_price
    if is_plain(line):
        return bool(total.cent_amount == line.price.value.cent_amount * line.quantity)
    if line.discounted_price_per_quantity:
        return _portions_fit(total, line.quantity, line.discounted_price_per_quantity)
    if line.line_item_mode == "GiftLineItem":
        return total.cent_amount == 0
    if line.price_mode == "ExternalTotal":
        return True
    if line.discounted_price:
        return _fits(total, [Portion(line.quantity, line.discounted_price)])
    return any(
        _fits(total, [Portion(line.quantity, Valued(price))]) for price in _unit_prices(line.price, line.quantity)
    )


def is_plain(line: LineItem) -> bool:
    """Recognise the usual line, whose unit price only its list price decides: a year of a shop has half a million of them."""
    price = line.price
    return not (
        line.discounted_price_per_quantity
        or line.discounted_price
        or price.discounted
        or price.tiers
        or price.value.precise_amount is not None
        or line.line_item_mode != "Standard"
        or line.price_mode == "ExternalTotal"
    )


def custom_total_is_right(line: CustomLineItem) -> bool:
    """
    Check a custom line: "money multiplied by quantity", or as discounted.

    "If the Custom Line Item is discounted, the total price is the discountedPricePerQuantity multiplied by quantity."
    """
    if line.discounted_price_per_quantity:
        return _portions_fit(line.total_price, line.quantity, line.discounted_price_per_quantity)
    return _fits(line.total_price, [Portion(line.quantity, line.discounted_price or Valued(line.money))])


def tax_difference_minor(record: OrderRecord) -> int:
    """Compute net and tax less gross: "totalTax: … difference between the totalGross and totalNet prices"."""
    taxed = record.taxed_price
    if taxed is None or taxed.total_tax is None:
        return 0
    return int(taxed.total_net.cent_amount + taxed.total_tax.cent_amount - taxed.total_gross.cent_amount)


def tax_of_another_total(record: OrderRecord) -> str:
    """
    Name the taxes if they are of another total than the order's; empty if they fit.

    A total "includes taxes if the TaxRate includedInPrice is true": it is gross then, and else net; with rates of both kinds it
    is between. Tax only lowers the amount of an order that also takes something back, at another rate.
    """
    taxed, total = record.taxed_price, record.total_price.cent_amount
    if taxed is None:
        return ""
    net, gross = taxed.total_net.cent_amount, taxed.total_gross.cent_amount
    fits = min(net, gross) <= total <= max(net, gross)
    if fits and not _is_mixed(record):
        fits = 0 <= net <= gross if total >= 0 else gross <= net <= 0
    return "" if fits else f"net {net} and gross {gross} of {total}"


def _is_mixed(record: OrderRecord) -> bool:
    """Check whether some lines of the order cost something, and others give something back."""
    totals = [line.total_price.cent_amount for line in record.line_items]
    totals += [line.total_price.cent_amount for line in record.custom_line_items]
    return min(totals, default=0) < 0 < max(totals, default=0)


def implausible_of_line(line: LineItem) -> Iterator[tuple[str, Money]]:
    """Yield the amounts of a product's line that are negative, or more than anything costs, each with its place."""
    price = line.price.value
    for part, money in (*moneys_of(line.price), *_lowered(line)):
        if not is_plausible(money) or not is_rounded(money):
            yield part, money
    if is_plain(line):  # its total is the price of each unit
        return
    total, units = line.total_price.cent_amount, line.quantity
    most = largest_price_minor(price.currency_code) * abs(units)
    if not 0 <= (total if units > 0 else -total) <= most:
        yield ", total", line.total_price


def implausible_beside_lines(record: OrderRecord) -> Iterator[str]:
    """
    Yield the other amounts that are implausible: of custom lines, shipping and the discount.

    A custom line may be a voucher, and a credit note gives shipping back: their amounts are below zero.
    """
    for custom in record.custom_line_items:
        moneys = [("", custom.money), *_lowered(custom)]
        units = max(1, abs(custom.quantity))
        wrong = [(part, money) for part, money in moneys if not _is_bounded(money)]
        if not _is_bounded(custom.total_price, units):
            wrong.append((", total", custom.total_price))
        yield from (f"{custom.slug or custom.id}{part} {described(money)}" for part, money in wrong)
    is_right = _is_bounded if record.total_price.cent_amount < 0 else is_plausible
    for shipping in shippings_of(record):
        for money in (shipping.price, shipping_price(shipping)):
            if not is_right(money):
                yield f"shipping {described(money)}"
    discount = record.discount_on_total_price
    if discount and not is_right(discount.discounted_amount):
        yield f"discount {described(discount.discounted_amount)}"


def _is_bounded(money: Money, units: int = 1) -> bool:
    """Check that *money* for so many *units* is not more than anything costs, in either direction."""
    most = largest_price_minor(money.currency_code) * units
    return bool(-most <= money.cent_amount <= most) and is_rounded(money)


def amounts_in_other_currency(record: OrderRecord) -> list[str]:
    """List the amounts of the order that are not in its currency, each with its place."""
    currency = record.total_price.currency_code
    return [
        f"{''.join(place)} {money.currency_code}"
        for place, money in _moneys_of(record)
        if money.currency_code != currency
    ]


def _moneys_of(record: OrderRecord) -> Iterator[tuple[Place, Money]]:
    """Yield every amount of the order but its total, with its place."""
    for line in record.line_items:
        yield ("line ", line.id, ", total"), line.total_price
        for part, money in moneys_of(line.price):
            yield ("line ", line.id, ", price", part), money
        if line.discounted_price_per_quantity or line.discounted_price:
            yield from ((("line ", line.id, part), money) for part, money in _lowered(line))
    for custom in record.custom_line_items:
        yield ("custom line ", custom.id, ", total"), custom.total_price
        yield ("custom line ", custom.id, ", price"), custom.money
        yield from ((("custom line ", custom.id, part), money) for part, money in _lowered(custom))
    for shipping in shippings_of(record):
        yield ("shipping",), shipping.price
        if shipping.discounted_price:
            yield ("shipping, discount",), shipping.discounted_price.value
    if record.discount_on_total_price:
        yield ("discount",), record.discount_on_total_price.discounted_amount
    if taxed := record.taxed_price:
        yield ("net",), taxed.total_net
        yield ("gross",), taxed.total_gross
        if taxed.total_tax:
            yield ("tax",), taxed.total_tax


def _lowered(line: LineItem | CustomLineItem) -> Iterator[tuple[str, Money]]:
    """Yield the prices to which discounts lowered the units of a line, with their places in it."""
    for number, portion in enumerate(line.discounted_price_per_quantity, start=1):
        yield f", portion {number}", portion.discounted_price.value
    if line.discounted_price:
        yield ", discounted", line.discounted_price.value


def _unit_prices(price: UnitPrice, quantity: int) -> Iterator[Money]:
    """
    Yield the prices at which a unit may have been sold.

    A product discount is on the base price. Where a tier applies too, the vendor's documentation does not say which of
    the two wins, so that both are right.
    """
    reached = [tier for tier in price.tiers if tier.minimum_quantity <= abs(quantity)]
    if price.discounted:
        yield price.discounted.value
    if reached:
        yield max(reached, key=lambda tier: tier.minimum_quantity).value
    if not price.discounted and not reached:
        yield price.value


def _portions_fit(total: Money, quantity: int, portions: Sequence[Portion]) -> bool:
    """Check that the portions are all units of the line, and make its total. None of them takes back what another has."""
    is_one_way = all(portion.quantity * quantity >= 0 for portion in portions)
    all_units = is_one_way and sum(portion.quantity for portion in portions) == quantity
    return all_units and _fits(total, portions)


def _fits(total: Money, portions: Sequence[Portion]) -> bool:
    """Compare exactly, but for one rounding of each portion whose price is finer than a minor unit: by less than one unit."""
    exponent = currency_exponent(total.currency_code)
    priced = [(portion.quantity, *units_of(portion.discounted_price.value)) for portion in portions]
    digits = max([exponent, *(of_price for _, _, of_price in priced)])
    expected = sum(quantity * amount * 10 ** (digits - of_price) for quantity, amount, of_price in priced)
    minor: int = 10 ** (digits - exponent)
    rounded = sum(of_price > exponent for _, _, of_price in priced)
    difference = abs(total.cent_amount * minor - expected)
    return bool(difference == 0 or difference < rounded * minor)
