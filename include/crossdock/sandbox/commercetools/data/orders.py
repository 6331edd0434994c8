"""Orders whose lines add up, for the generated products and customers."""

import random
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

from crossdock.sandbox.commercetools.data import order_forms as forms
from crossdock.sandbox.commercetools.data import order_pricing as pricing
from crossdock.sandbox.commercetools.data.building_blocks import Json, SharedReferences, base, cents, reference, uuid

_TAX_PERCENT = 19
#: One order in so many has the forms that are less frequent in a real shop.
_PLAIN_ORDERS = 3
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
    """Make one order: most are plain, and every third has some of the forms that the vendor documents."""
    order_state, payment_state, shipment_state = rng.choice(STATES)
    chosen = rng.sample(products, min(len(products), rng.randrange(1, 5)))
    lines = [_line(rng, references, product) for product in chosen]
    # All first prices have the same currency.
    currency = lines[0]["totalPrice"]["currencyCode"] if lines else "EUR"
    made = base(rng) | {
        "orderNumber": f"ORD-{number:07d}",
        **_buyer(rng, customers),
        "lineItems": lines,
        "customLineItems": [],
        "totalPrice": pricing.money(0, currency),
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
    if lines and number % _PLAIN_ORDERS == 0:
        vary(rng, made)
    else:
        complete(made)
    return made


def vary(rng: random.Random, made: Json) -> None:
    """Price, ship, tax and fulfil the order in forms that the vendor documents, each drawn by itself."""
    for line in made["lineItems"]:
        rng.choice(pricing.PRICINGS)(rng, line)
    for change in forms.FORMS:
        if rng.random() < forms.SHARE:
            change(rng, made)
    complete(made, rng)


def complete(made: Json, rng: random.Random | None = None) -> None:
    """Compute the order's total and taxes; with *rng*, in any tax mode."""
    pricing.set_total(made)
    if rng is None:
        pricing.set_tax(made, "Platform", _TAX_PERCENT, included=True)
    else:
        pricing.set_tax(made, rng.choice(forms.TAX_MODES), rng.choice((7, 19, 20)), included=rng.random() < forms.SHARE)


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
    # The line has a copy: what is done to its price is not done to the product's.
    price = deepcopy(variant["prices"][0])
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


def _total_that_does_not_add_up(order: Json) -> None:
    order["totalPrice"]["centAmount"] += 100


def _unknown_state(order: Json) -> None:
    order["orderState"] = "Lost"


def _negative_quantity(order: Json) -> None:
    for line in order["lineItems"][:1]:
        line["quantity"] = -1


FLAWS: dict[str, Callable[[Json], None]] = {
    "total_that_does_not_add_up": _total_that_does_not_add_up,
    "unknown_state": _unknown_state,
    "negative_quantity": _negative_quantity,
}
