"""Products, prices and stock as a shop has them, good unless a test says otherwise."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

AT = {"createdAt": "2026-10-01T09:00:00.000Z", "lastModifiedAt": "2026-10-02T10:30:00.000Z"}
TYPE = {"typeId": "product-type", "id": "type"}


def cents(amount: int, currency: str = "EUR", digits: int = 2) -> Json:
    return {"type": "centPrecision", "currencyCode": currency, "centAmount": amount, "fractionDigits": digits}


def fine(minor: int, precise: int, digits: int, currency: str = "EUR") -> Json:
    return {
        "type": "highPrecision",
        "currencyCode": currency,
        "centAmount": minor,
        "preciseAmount": precise,
        "fractionDigits": digits,
    }


def price(value: int | Json = 2500, **fields: Any) -> Json:
    """A price; its ID is that of other products' prices too, as in a product that was copied."""
    money = cents(value) if isinstance(value, int) else value
    return {"id": f"price-{money['centAmount']}-{len(fields)}", "value": money, **fields}


def variant(*prices: Json, sku: str | None = "SKU-1", number: int = 1) -> Json:
    made = {"id": number, "prices": list(prices), "attributes": [], "images": [], "assets": []}
    return made if sku is None else {**made, "sku": sku}


def product(*variants: Json, **changes: Any) -> Json:
    """A product projection; a change that is None leaves the field out."""
    made = {
        "id": "product-1",
        "version": 3,
        **AT,
        "key": "product-1",
        "productType": TYPE,
        "name": {"en": "Trousers"},
        "slug": {"en": "trousers"},
        "categories": [],
        "categoryOrderHints": {},
        "published": True,
        "hasStagedChanges": False,
        "masterVariant": variants[0] if variants else variant(price()),
        "variants": list(variants[1:]),
        "searchKeywords": {},
        "attributes": [],
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


def standalone(value: int | Json = 2500, sku: str = "SKU-1", **changes: Any) -> Json:
    money = cents(value) if isinstance(value, int) else value
    return {"id": "price-1", "version": 1, **AT, "sku": sku, "value": money, "active": True, **changes}


def stock(units: int, available: int | None = None, **changes: Any) -> Json:
    made = {
        "id": "stock-1",
        "version": 1,
        **AT,
        "sku": "SKU-1",
        "quantityOnStock": units,
        "availableQuantity": units if available is None else available,
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}
