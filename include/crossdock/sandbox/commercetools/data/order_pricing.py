"""
What lines, shipping and whole orders cost, in every form that the vendor documents.

Each form quotes the sentence of the vendor's documentation that it follows
(https://docs.commercetools.com/api/projects/carts, …/orders, …/pricing-and-discounts-overview).
"""

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from crossdock.sandbox.commercetools.data.building_blocks import Json, reference, uuid

#: Digits of the minor unit (ISO 4217) of the currencies that orders are in.
EXPONENTS = {"EUR": 2, "USD": 2, "GBP": 2, "JPY": 0, "KWD": 3, "CLF": 4, "IDR": 2}

_DISCOUNT = "f0000003-0000-4000-8000-000000000003"


def money(minor: int, currency: str) -> Json:
    return {
        "type": "centPrecision",
        "currencyCode": currency,
        "centAmount": minor,
        "fractionDigits": EXPONENTS[currency],
    }


def half_even(exact: Fraction) -> int:
    """Round as `priceRoundingMode` HalfEven, the default: to the nearest integer, a half to the even one."""
    return round(exact)


def precise(amount: int, digits: int, currency: str) -> Json:
    """Make a price finer than a minor unit: "preciseAmount: value in smallest indivisible unit … fractionDigits"."""
    minor = half_even(Fraction(amount, 10 ** (digits - EXPONENTS[currency])))
    return {
        "type": "highPrecision",
        "currencyCode": currency,
        "centAmount": minor,
        "preciseAmount": amount,
        "fractionDigits": digits,
    }


def _units(line: Json, quantity: int) -> None:
    line["quantity"] = quantity
    line["state"] = [{"quantity": quantity, "state": line["state"][0]["state"]}] if line.get("state") else []


def _set_total(line: Json, minor: int) -> None:
    line["totalPrice"] = money(minor, line["price"]["value"]["currencyCode"])


def _portion(quantity: int, minor: int, off: int, currency: str) -> Json:
    included = {"discount": reference("cart-discount", _DISCOUNT), "discountedAmount": money(off, currency)}
    return {
        "quantity": quantity,
        "discountedPrice": {"value": money(minor, currency), "includedDiscounts": [included]},
    }


def list_price(rng: random.Random, line: Json) -> None:  # noqa: ARG001 - the form of all pricings
    """Price at the list: "Total price of this Line Item equalling price multiplied by quantity"."""
    _set_total(line, line["price"]["value"]["centAmount"] * line["quantity"])


def sale_price(rng: random.Random, line: Json) -> None:
    """Lower by a product discount: "discounted: … If set, the Cart uses the discounted value for the Line Item price calculation"."""
    value = line["price"]["value"]
    lower = value["centAmount"] * rng.randrange(5, 10) // 10
    line["price"]["discounted"] = {
        "value": money(lower, value["currencyCode"]),
        "discount": reference("product-discount", _DISCOUNT),
    }
    _set_total(line, lower * line["quantity"])


def tier_price(rng: random.Random, line: Json) -> None:
    """Lower by quantity: "tiers: … if the quantity of the Line Item is at least the minimumQuantity, the value of the tier is its price"."""
    value = line["price"]["value"]
    _units(line, 10 + rng.randrange(3))
    tiers = [(5, value["centAmount"] * 95 // 100), (10, value["centAmount"] * 9 // 10)]
    line["price"]["tiers"] = [
        {"minimumQuantity": least, "value": money(minor, value["currencyCode"])} for least, minor in tiers
    ]
    _set_total(line, tiers[-1][1] * line["quantity"])


def coupon(rng: random.Random, line: Json) -> None:  # noqa: ARG001 - the form of all pricings
    """Discount by the cart: "If the Line Item is discounted, the total price is the discountedPricePerQuantity multiplied by quantity"."""
    value = line["price"]["value"]
    lower = value["centAmount"] * 9 // 10
    off = value["centAmount"] - lower
    line["discountedPricePerQuantity"] = [_portion(line["quantity"], lower, off, value["currencyCode"])]
    _set_total(line, lower * line["quantity"])


def three_for_two(rng: random.Random, line: Json) -> None:  # noqa: ARG001 - the form of all pricings
    """Discount some of the units: "discountedPricePerQuantity: … Discounted price of a single quantity of the Line Item", per portion of the units."""
    value = line["price"]["value"]
    _units(line, 3)
    minor = value["centAmount"]
    portions = [_portion(2, minor, 0, value["currencyCode"]), _portion(1, 0, minor, value["currencyCode"])]
    line["discountedPricePerQuantity"] = portions
    _set_total(line, 2 * minor)


def gift(rng: random.Random, line: Json) -> None:  # noqa: ARG001 - the form of all pricings
    """Give away: "GiftLineItem: … was added as a gift by a Cart Discount. The totalPrice is always 0"."""
    value = line["price"]["value"]
    _units(line, 1)
    line["lineItemMode"] = "GiftLineItem"
    line["discountedPricePerQuantity"] = [_portion(1, 0, value["centAmount"], value["currencyCode"])]
    _set_total(line, 0)


def external_price(rng: random.Random, line: Json) -> None:
    """Set the price from outside: "ExternalPrice: the price of the Line Item is set externally", and the total is computed of it."""
    value = line["price"]["value"]
    line["priceMode"] = "ExternalPrice"
    line["price"] = {
        "id": line["price"]["id"],
        "value": money(value["centAmount"] + rng.randrange(50), value["currencyCode"]),
    }
    list_price(rng, line)


def external_total(rng: random.Random, line: Json) -> None:
    """Set the total from outside: "ExternalTotal: the price and total of the Line Item are set externally"."""
    value = line["price"]["value"]
    line["priceMode"] = "ExternalTotal"
    _set_total(line, value["centAmount"] * line["quantity"] - rng.randrange(1, 9))


def fine_price(rng: random.Random, line: Json) -> None:
    """Price finer than a minor unit: "HighPrecisionMoney: … the totalPrice is calculated with the precise amount and rounded", once per line."""
    currency = line["price"]["value"]["currencyCode"]
    digits = EXPONENTS[currency] + 3
    amount = line["price"]["value"]["centAmount"] * 1000 + rng.randrange(1, 1000)
    line["price"] = {"id": line["price"]["id"], "value": precise(amount, digits, currency)}
    _units(line, rng.randrange(1, 200))
    _set_total(line, half_even(Fraction(amount * line["quantity"], 1000)))


def sample(rng: random.Random, line: Json) -> None:
    """Add a free sample: the platform itself has the price 0 for it."""
    currency = line["price"]["value"]["currencyCode"]
    line["price"] = {"id": line["price"]["id"], "value": money(0, currency)}
    _units(line, 1 + rng.randrange(2))
    _set_total(line, 0)


#: How a line can be priced. The first is by far the most frequent.
PRICINGS: tuple[Callable[[random.Random, Json], None], ...] = (
    list_price,
    sale_price,
    tier_price,
    coupon,
    three_for_two,
    gift,
    external_price,
    external_total,
    fine_price,
    sample,
)


def custom_line(rng: random.Random, slug: str, minor: int, currency: str) -> Json:
    """Add what is no product: "Total price of the Custom Line Item (money multiplied by quantity)"."""
    quantity = 1 + (minor > 0) * rng.randrange(2)
    return {
        "id": uuid(rng),
        "name": {"en": slug.replace("-", " ")},
        "slug": slug,
        "money": money(minor, currency),
        "quantity": quantity,
        "totalPrice": money(minor * quantity, currency),
        "discountedPricePerQuantity": [],
        "taxedPricePortions": [],
        "perMethodTaxRate": [],
        "state": [],
        "priceMode": "Standard" if minor > 0 else "External",
    }


def discounted_custom_line(rng: random.Random, slug: str, minor: int, currency: str) -> Json:
    """Discount what is no product: "If the Custom Line Item is discounted, the total price is the discountedPricePerQuantity multiplied by quantity"."""
    line = custom_line(rng, slug, minor, currency)
    half = minor // 2
    line["discountedPricePerQuantity"] = [_portion(line["quantity"], half, minor - half, currency)]
    line["totalPrice"] = money(half * line["quantity"], currency)
    return line


def shipping_info(rng: random.Random, minor: int, currency: str, *, discounted: bool) -> Json:
    """Price a shipping: "discountedPrice: discounted price of the Shipping Method" counts in place of `price`, if there is one."""
    info: Json = {
        "shippingMethodName": rng.choice(("Parcel", "Express")),
        "price": money(minor, currency),
        "shippingRate": {"price": money(minor, currency), "tiers": []},
        "shippingMethodState": "MatchesCart",
        "deliveries": [],
    }
    if discounted:
        half = minor // 2
        included = {
            "discount": reference("cart-discount", _DISCOUNT),
            "discountedAmount": money(minor - half, currency),
        }
        info["discountedPrice"] = {"value": money(half, currency), "includedDiscounts": [included]}
    return info


def price_of_shipping(info: Json) -> int:
    counts: Any = info.get("discountedPrice", {}).get("value") or info["price"]
    return int(counts["centAmount"])


def set_total(order: Json) -> None:
    """
    Add up the order.

    "Sum of the totalPrice field of all LineItems and CustomLineItems, and if available, the price field of ShippingInfo. If
    a discount applies on totalPrice, this field holds the discounted value." In the shipping mode Multiple, the prices
    are those of `shipping[].shippingInfo`.
    """
    currency = order["totalPrice"]["currencyCode"]
    total = sum(line["totalPrice"]["centAmount"] for line in (*order["lineItems"], *order["customLineItems"]))
    infos = [one["shippingInfo"] for one in order["shipping"]] if order["shippingMode"] == "Multiple" else []
    infos += [order["shippingInfo"]] if order["shippingMode"] == "Single" and "shippingInfo" in order else []
    total += sum(map(price_of_shipping, infos))
    off = order.get("discountOnTotalPrice")
    order["totalPrice"] = money(total - (off["discountedAmount"]["centAmount"] if off else 0), currency)


def set_tax(order: Json, mode: str, percent: int, *, included: bool) -> None:
    """
    Set the taxes.

    "taxedPrice: … If the taxMode is Platform, it is set automatically … External: … ExternalAmount: … Disabled: no taxes".
    "totalTax: … calculated as the difference between the totalGross and totalNet prices". A total "includes taxes if the
    TaxRate includedInPrice is true".
    """
    order["taxMode"] = mode
    order.pop("taxedPrice", None)
    if mode == "Disabled":
        return
    total, currency = order["totalPrice"]["centAmount"], order["totalPrice"]["currencyCode"]
    net = half_even(Fraction(total * 100, 100 + percent)) if included else total
    gross = total if included else half_even(Fraction(total * (100 + percent), 100))
    tax = money(gross - net, currency)
    order["taxedPrice"] = {
        "totalNet": money(net, currency),
        "totalGross": money(gross, currency),
        "totalTax": tax,
        "taxPortions": [{"name": "VAT", "rate": percent / 100, "amount": tax}],
    }
