"""Orders whose lines add up, for the generated products and customers."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from crossdock.sandbox.commercetools.data.building_blocks import Json, SharedReferences, base, cents, reference, uuid

_TAX_PERCENT = 19
#: Order, payment and shipment states that go together.
STATES = (
    ("Open", "Pending", "Pending"),
    ("Open", "Paid", "Ready"),
    ("Confirmed", "Paid", "Shipped"),
    ("Complete", "Paid", "Delivered"),
    ("Cancelled", "CreditOwed", "Canceled"),
)


def orders(
    rng: random.Random, size: int, references: SharedReferences, products: Sequence[Json], customers: Sequence[Json]
) -> Iterator[Json]:
    """Generate *size* orders without flaws; they have no lines without products, and no customer without customers."""
    sold = [product for product in products if is_sellable(product)]
    for number in range(size):
        yield order(rng, number, references, sold, customers)


def is_sellable(product: Json) -> bool:
    """Check that the first price of the product is in whole cents."""
    return any(price["value"]["type"] == "centPrecision" for price in product["masterVariant"].get("prices", ())[:1])


def order(
    rng: random.Random, number: int, references: SharedReferences, products: Sequence[Json], customers: Sequence[Json]
) -> Json:
    order_state, payment_state, shipment_state = rng.choice(STATES)
    chosen = rng.sample(products, min(len(products), rng.randrange(1, 5)))
    lines = [_line(rng, references, product) for product in chosen]
    total = sum(line["totalPrice"]["centAmount"] for line in lines)
    # All first prices have the same currency.
    currency = lines[0]["totalPrice"]["currencyCode"] if lines else "EUR"
    return base(rng) | {
        "orderNumber": f"ORD-{number:07d}",
        **_buyer(rng, customers),
        "lineItems": lines,
        "customLineItems": [],
        "totalPrice": cents(total, currency),
        "taxedPrice": _taxed(total, currency),
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
    buyer = {"customerId": customer["id"], "customerEmail": customer["email"]}
    if not customer["addresses"]:
        return buyer
    address: Any = customer["addresses"][0]
    return buyer | {
        "shippingAddress": address,
        "billingAddress": address,
        "country": address["country"],
    }


def _line(rng: random.Random, references: SharedReferences, product: Json) -> Json:
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
        "totalPrice": cents(price["value"]["centAmount"] * quantity, price["value"]["currencyCode"]),
        "discountedPricePerQuantity": [],
        "taxedPricePortions": [],
        "perMethodTaxRate": [],
        "state": [{"quantity": quantity, "state": reference("state", references.state)}],
        "priceMode": "Platform",
        "lineItemMode": "Standard",
    }


def _taxed(gross: int, currency: str) -> Json:
    net = gross * 100 // (100 + _TAX_PERCENT)
    tax = cents(gross - net, currency)
    return {
        "totalNet": cents(net, currency),
        "totalGross": cents(gross, currency),
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
