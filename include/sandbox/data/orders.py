"""Orders whose lines add up, for the shop's own products and customers."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from include.sandbox.data.words import Json, Retailer, base, cents, reference, uuid

_TAX_PERCENT = 19
_STATES = (
    ("Open", "Pending", "Pending"),
    ("Open", "Paid", "Ready"),
    ("Confirmed", "Paid", "Shipped"),
    ("Complete", "Paid", "Delivered"),
    ("Cancelled", "CreditOwed", "Canceled"),
)


def orders(
    rng: random.Random, size: int, shop: Retailer, products: Sequence[Json], customers: Sequence[Json]
) -> Iterator[Json]:
    """*size* orders, spotless. Without products they have no lines; without customers they are anonymous."""
    sellable = [product for product in products if product["masterVariant"].get("prices")]
    for number in range(size):
        yield order(rng, number, shop, sellable, customers)


def order(rng: random.Random, number: int, shop: Retailer, products: Sequence[Json], customers: Sequence[Json]) -> Json:
    order_state, payment_state, shipment_state = rng.choice(_STATES)
    chosen = rng.sample(products, min(len(products), rng.randrange(1, 5)))
    lines = [_line(rng, shop, product) for product in chosen]
    total = sum(line["totalPrice"]["centAmount"] for line in lines)
    return base(rng) | {
        "orderNumber": f"ORD-{number:07d}",
        **_buyer(rng, customers),
        "lineItems": lines,
        "customLineItems": [],
        "totalPrice": cents(total, "EUR"),
        "taxedPrice": _taxed(total),
        "taxMode": "Platform",
        "inventoryMode": "None",
        "shippingMode": "Single",
        "shipping": [],
        "refusedGifts": [],
        "syncInfo": [],
        "origin": "Customer",
        "orderState": order_state,
        "paymentState": payment_state,
        "shipmentState": shipment_state,
    }


def _buyer(rng: random.Random, customers: Sequence[Json]) -> Json:
    if not customers:
        return {"anonymousId": uuid(rng), "country": "DE"}
    customer = rng.choice(customers)
    address: Any = customer["addresses"][0]
    return {
        "customerId": customer["id"],
        "customerEmail": customer["email"],
        "shippingAddress": address,
        "billingAddress": address,
        "country": address["country"],
    }


def _line(rng: random.Random, shop: Retailer, product: Json) -> Json:
    variant, quantity = product["masterVariant"], rng.randrange(1, 4)
    price = variant["prices"][0]
    return {
        "id": uuid(rng),
        "productId": product["id"],
        "productKey": product["key"],
        "name": product["name"],
        "productSlug": product["slug"],
        "productType": product["productType"],
        "variant": {"id": variant["id"], "sku": variant["sku"], "key": variant["key"], "prices": [price]},
        "price": price,
        "quantity": quantity,
        "totalPrice": cents(price["value"]["centAmount"] * quantity, "EUR"),
        "discountedPricePerQuantity": [],
        "taxedPricePortions": [],
        "perMethodTaxRate": [],
        "state": [{"quantity": quantity, "state": reference("state", shop.state)}],
        "priceMode": "Platform",
        "lineItemMode": "Standard",
    }


def _taxed(gross: int) -> Json:
    net = gross * 100 // (100 + _TAX_PERCENT)
    tax = cents(gross - net, "EUR")
    return {
        "totalNet": cents(net, "EUR"),
        "totalGross": cents(gross, "EUR"),
        "totalTax": tax,
        "taxPortions": [{"name": "VAT", "rate": _TAX_PERCENT / 100, "amount": tax}],
    }


def _total_that_does_not_add_up(order: Json) -> None:
    order["totalPrice"]["centAmount"] += 100


def _missing_order_number(order: Json) -> None:
    del order["orderNumber"]


def _negative_quantity(order: Json) -> None:
    for line in order["lineItems"][:1]:
        line["quantity"] = -1


FLAWS: dict[str, Callable[[Json], None]] = {
    "total_that_does_not_add_up": _total_that_does_not_add_up,
    "missing_order_number": _missing_order_number,
    "negative_quantity": _negative_quantity,
}
