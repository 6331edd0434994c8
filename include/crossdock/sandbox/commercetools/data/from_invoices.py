"""
Documents of the retailer, made from the lines of a real shop's invoices.

Nothing is cleaned. Each line becomes a line item in the order of its invoice, with its code, quantity and exact price.
What the vendor's schemas require and the file does not have (a name, the currency of a price) is left out or derived,
and derived fields are marked.

Rules where the file leaves a choice:

- The date, customer and country of an invoice are those of its first line. A line with other values has them in its
  `custom.fields` (`invoice_date_raw`, `customer_id_raw`, `country`; "" for an empty one).
- Dates have no zone; they are wall clock times in Europe/London (the hour that happens twice in October counts as
  the first). An order is created at its earliest line and modified at its latest.
- The order of an invoice of digits is Complete, of "C…" Cancelled, of any other ("A…" adjusts bad debt) Open.
- A price of whole pennies is `centPrecision`; any other is `highPrecision`, exact in `preciseAmount`. A line's
  `totalPrice` is price times quantity, rounded once to pennies, half to even as the vendor does; the `totalPrice` of
  the order is their exact sum.
- An order to a country without an ISO 3166 code has no `shippingAddress` and `country`; `custom.fields.country` has
  the shop's own name for it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from itertools import chain
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from crossdock.sandbox.commercetools.data.building_blocks import Json, cents, reference
from crossdock.sandbox.commercetools.data.countries import ISO
from crossdock.sandbox.commercetools.data.invoice_lines import DatasetRefusedError, Line
from crossdock.sandbox.engine.clock import text_of

_SPACE = UUID("5f0c9d5e-6b0a-5d5c-9a0e-3c1f2b7d4e61")
_LONDON = ZoneInfo("Europe/London")
_CURRENCY = "GBP"
#: More than the distinct pairs of code and price in a year of half a million lines.
_CACHE_SIZE = 100_000
_PENNY = Decimal("0.01")
_STOCK_DAYS = 30
_STOCK_RULE = f"sum of the quantities invoiced in the last {_STOCK_DAYS} days of the file, at least 0"

#: The lines of one invoice, code or customer, in the file's order.
Group = list[Line]


def stable_id(kind: str, name: str) -> str:
    """Make an ID that is the same in every run and on every machine."""
    return str(uuid5(_SPACE, f"{kind}/{name}"))


_TYPE = reference("type", stable_id("type", "retail"))
_PRODUCT_TYPE = reference("product-type", stable_id("product-type", "retail"))
_CHANNEL = reference("channel", stable_id("channel", "warehouse"))


def group(lines: Iterator[Line]) -> tuple[dict[str, Group], dict[str, Group], dict[str, Group]]:
    """Group the lines by invoice, by code and by customer, each in order of first appearance."""
    invoices: dict[str, Group] = {}
    codes: dict[str, Group] = {}
    customers: dict[str, Group] = {}
    for line in lines:
        invoices.setdefault(line.invoice, []).append(line)
        codes.setdefault(line.code, []).append(line)
        if line.customer is not None:
            customers.setdefault(line.customer, []).append(line)
    return invoices, codes, customers


def order(invoice: str, lines: Group) -> Json:
    """Make the order of one invoice, with all its lines."""
    first = lines[0]
    items = [_item(invoice, number, line, first) for number, line in enumerate(lines)]
    total = sum(item["totalPrice"]["centAmount"] for item in items)
    return {
        "id": stable_id("order", invoice),
        **_versioned(lines),
        "orderNumber": invoice,
        **({} if first.customer is None else {"customerId": _customer_id(first.customer)}),
        **_shipped_to(first.country),
        "lineItems": items,
        "customLineItems": [],
        "totalPrice": cents(total, _CURRENCY),
        "taxMode": "Disabled",
        "inventoryMode": "None",
        "shippingMode": "Single",
        "shipping": [],
        "refusedGifts": [],
        "syncInfo": [],
        "origin": "Customer",
        "orderState": _state(invoice),
        "custom": _custom(invoice_date_raw=first.dated, country=first.country),
    }


def _state(invoice: str) -> str:
    if invoice.startswith("C"):
        return "Cancelled"
    return "Complete" if invoice.isdecimal() else "Open"


def _item(invoice: str, number: int, line: Line, first: Line) -> Json:
    """Make the *number*th line of an invoice. Its ID is by place, because two lines may be equal in everything."""
    item = {
        "id": stable_id("line", f"{invoice}/{number}"),
        "productId": _product_id(line.code),
        "productType": _PRODUCT_TYPE,
        "variant": {"id": 1, "sku": line.code},
        "price": _price(line.code, line.price),
        "quantity": line.quantity,
        "totalPrice": cents(_pennies(line.price * line.quantity), _CURRENCY),
        "discountedPricePerQuantity": [],
        "taxedPricePortions": [],
        "perMethodTaxRate": [],
        "state": [],
        "priceMode": "Platform",
        "lineItemMode": "Standard",
    }
    if line.description is not None:
        item["name"] = {"en": line.description}
    own = {
        "invoice_date_raw": (line.dated, first.dated),
        "customer_id_raw": (line.customer, first.customer),
        "country": (line.country, first.country),
    }
    different = {name: mine or "" for name, (mine, common) in own.items() if mine != common}
    if different:
        item["custom"] = _custom(**different)
    return item


def product(code: str, lines: Group) -> Json:
    """Make the product of one code. Codes that differ only in case or blanks are two products."""
    described = Counter(line.description for line in lines if line.description is not None)
    priced = Counter(line.price for line in lines if line.price > 0)
    # Ties go to the first in the file: a Counter keeps that order.
    texts = [text for text, _ in described.most_common()]
    return {
        "id": _product_id(code),
        **_versioned(lines),
        "key": code,
        "productType": _PRODUCT_TYPE,
        "name": {"en": texts[0]} if texts else {},
        # The vendor's slugs have no blanks and do not differ only in case; codes do both.
        "slug": {"en": _product_id(code)},
        "categories": [],
        "categoryOrderHints": {},
        "searchKeywords": {},
        "hasStagedChanges": False,
        "published": True,
        "masterVariant": {
            "id": 1,
            "sku": code,
            "key": code,
            "prices": [_price(code, price) for price, _ in priced.most_common(1)],
            "images": [],
            "attributes": [{"name": "descriptions", "value": texts}],
            "assets": [],
        },
        "variants": [],
        "priceMode": "Embedded",
        "attributes": [],
    }


def customer(number: str, lines: Group) -> Json:
    """Make the customer from a number and the countries: the file has nothing else."""
    countries = list(dict.fromkeys(line.country for line in lines if line.country is not None))
    codes = list(dict.fromkeys(ISO[name] for name in countries if name in ISO))
    addresses = [{"id": f"a{place}", "country": code} for place, code in enumerate(codes, start=1)]
    return {
        "id": _customer_id(number),
        **_versioned(lines),
        "key": f"customer-{number}",
        "customerNumber": number,
        "email": f"customer-{number}@example.invalid",
        "addresses": addresses,
        "shippingAddressIds": [address["id"] for address in addresses],
        "billingAddressIds": [],
        "isEmailVerified": False,
        "customerGroupAssignments": [],
        "stores": [],
        "authenticationMode": "ExternalAuth",
        "custom": _custom(email_derived=True, countries=countries),
    }


def stock(code: str, lines: Group, last: datetime) -> Json:
    """
    Make the inventory entry of one code, derived: the file has sales and no stock.

    Args:
        code: The stock keeping unit.
        lines: Its lines.
        last: The last wall clock time in the file; sales of the thirty days before it count, to the second.

    """
    since = last - timedelta(days=_STOCK_DAYS)
    quantity = max(0, sum(line.quantity for line in lines if wall_clock(line.dated) >= since))
    return {
        "id": stable_id("inventory", code),
        **_versioned(lines),
        "key": code,
        "sku": code,
        "supplyChannel": _CHANNEL,
        "quantityOnStock": quantity,
        "availableQuantity": quantity,
        "custom": _custom(derived=True, derived_from=_STOCK_RULE),
    }


@lru_cache(maxsize=_CACHE_SIZE)
def wall_clock(dated: str) -> datetime:
    """
    Read the time that the shop's clock showed, without a zone.

    Raises:
        DatasetRefusedError: *dated* is not a date with a time.

    """
    try:
        found = datetime.fromisoformat(dated)
    except ValueError as error:
        raise DatasetRefusedError(
            f"{dated!r} is not a valid InvoiceDate (expected something like 2009-12-01 07:45:00)."
        ) from error
    if found.tzinfo is not None:
        raise DatasetRefusedError(f"The InvoiceDate {dated!r} has a zone; expected wall clock time.")
    return found


@lru_cache(maxsize=_CACHE_SIZE)
def _instant(dated: str) -> str:
    return text_of(wall_clock(dated).replace(tzinfo=_LONDON))


def _versioned(lines: Sequence[Line]) -> Json:
    instants = {_instant(dated) for dated in {line.dated for line in lines}}
    return {"version": 1, "createdAt": min(instants), "lastModifiedAt": max(instants)}


@lru_cache(maxsize=_CACHE_SIZE)
def _product_id(code: str) -> str:
    return stable_id("product", code)


@lru_cache(maxsize=_CACHE_SIZE)
def _customer_id(number: str) -> str:
    return stable_id("customer", number)


@lru_cache(maxsize=_CACHE_SIZE)
def _price(code: str, price: Decimal) -> Json:
    """Make one object for all lines with that price: they are encoded and never changed."""
    return {"id": stable_id("price", f"{code}/{price}"), "value": _money(price)}


def _money(amount: Decimal) -> Json:
    pennies = _pennies(amount)
    if pennies * _PENNY == amount:
        return cents(pennies, _CURRENCY)
    decimals = -int(amount.as_tuple().exponent)
    return {
        "type": "highPrecision",
        "currencyCode": _CURRENCY,
        "centAmount": pennies,
        "preciseAmount": int(amount.scaleb(decimals)),
        "fractionDigits": decimals,
    }


def _pennies(amount: Decimal) -> int:
    return int(amount.quantize(_PENNY, ROUND_HALF_EVEN).scaleb(2))


def _shipped_to(country: str | None) -> Json:
    code = ISO.get(country or "")
    return {} if code is None else {"country": code, "shippingAddress": {"country": code}}


def _custom(**fields: object) -> Json:
    return {"type": _TYPE, "fields": {name: value for name, value in fields.items() if value is not None}}


def last_instant(invoices: dict[str, Group]) -> datetime:
    """
    Find the last wall clock time in the file.

    Raises:
        DatasetRefusedError: the file has no lines.

    """
    if not invoices:
        raise DatasetRefusedError("The file has no lines.")
    return max(map(wall_clock, {line.dated for line in chain.from_iterable(invoices.values())}))
