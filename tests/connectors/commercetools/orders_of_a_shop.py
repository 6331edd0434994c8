"""Build orders as commercetools sends them, one line of code for what is special about each."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

AT = "2026-10-01T09:00:00.000Z"
DISCOUNT = {"typeId": "cart-discount", "id": "f0000003-0000-4000-8000-000000000003"}


def cents(minor: int, currency: str = "EUR") -> Json:
    digits = {"CLF": 4, "JPY": 0}.get(currency, 2)
    return {"type": "centPrecision", "currencyCode": currency, "centAmount": minor, "fractionDigits": digits}


def fine(amount: int, digits: int, minor: int) -> Json:
    return {**cents(minor), "type": "highPrecision", "preciseAmount": amount, "fractionDigits": digits}


def portion(quantity: int, minor: int) -> Json:
    return {"quantity": quantity, "discountedPrice": {"value": cents(minor), "includedDiscounts": []}}


def line(
    price: int | Json = 2500, quantity: int = 2, total: int | None = None, sku: str | None = "ABC-1", **more: Any
) -> Json:
    value = cents(price) if isinstance(price, int) else price
    currency = value["currencyCode"]
    return {
        "id": f"line-{sku}",
        "productId": "e0000001-0000-4000-8000-000000000001",
        "name": {"en": "Ware"},
        "productType": {"typeId": "product-type", "id": "f0000001-0000-4000-8000-000000000001"},
        "variant": {"id": 1, "sku": sku, "prices": [], "attributes": []},
        "price": {"id": "c0000001-0000-4000-8000-000000000001", "value": value, **more.pop("in_price", {})},
        "quantity": quantity,
        "totalPrice": cents(value["centAmount"] * quantity if total is None else total, currency),
        "discountedPricePerQuantity": [],
        "taxedPricePortions": [],
        "perMethodTaxRate": [],
        "state": [],
        "priceMode": "Platform",
        "lineItemMode": "Standard",
        **more,
    }


def custom(minor: int, total: int | None = None, slug: str = "fee", **more: Any) -> Json:
    return {
        "id": f"custom-{slug}",
        "name": {"en": slug},
        "slug": slug,
        "money": cents(minor),
        "quantity": 1,
        "totalPrice": cents(minor if total is None else total),
        "discountedPricePerQuantity": [],
        "taxedPricePortions": [],
        "perMethodTaxRate": [],
        "state": [],
        "priceMode": "Standard",
        **more,
    }


def shipping(minor: int, discounted: int | None = None, **more: Any) -> Json:
    lower = {} if discounted is None else {"discountedPrice": {"value": cents(discounted), "includedDiscounts": []}}
    rate = {"price": cents(minor), "tiers": []}
    return {"shippingMethodName": "Parcel", "price": cents(minor), "shippingRate": rate, **lower, **more}


def order(*lines: Json, total: int, currency: str = "EUR", **more: Any) -> Json:
    """Build an order of *lines*; a value of None leaves a field out."""
    record = {
        "id": "10000001-0000-4000-8000-000000000001",
        "version": 2,
        "createdAt": AT,
        "lastModifiedAt": "2026-10-02T10:30:00.000Z",
        "orderNumber": "T-1",
        "lineItems": list(lines),
        "customLineItems": [],
        "totalPrice": cents(total, currency),
        "orderState": "Open",
        "shippingMode": "Single",
        "shipping": [],
        "syncInfo": [],
        "returnInfo": [],
        "taxMode": "Platform",
        "inventoryMode": "None",
        "origin": "Customer",
        "refusedGifts": [],
        "shippingAddress": {"country": "DE", "firstName": "Ada", "lastName": "Muster", "city": "Ulm"},
        "customerEmail": "ada@example.com",
        **more,
    }
    return {name: value for name, value in record.items() if value is not None}
