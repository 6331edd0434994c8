"""Forms of an order beside its prices: custom lines, shipping, discounts, fulfilment, optional fields. All are legal."""

import random
from collections.abc import Callable

from crossdock.sandbox.commercetools.data import order_pricing as pricing
from crossdock.sandbox.commercetools.data.building_blocks import Json, later, reference, uuid

TAX_MODES = ("Platform", "External", "ExternalAmount", "Disabled")
#: How often an order has each of the forms.
SHARE = 0.3

_STATES_OF_CODES = ("MatchesCart", "DoesNotMatchCart", "NotActive", "MaxApplicationReached")


def _currency(order: Json) -> str:
    return str(order["totalPrice"]["currencyCode"])


def _without_number(_rng: random.Random, order: Json) -> None:
    """Leave out the number: "orderNumber: user-defined unique identifier of the Order", which is optional."""
    order.pop("orderNumber", None)


def _fee(rng: random.Random, order: Json) -> None:
    order["customLineItems"].append(pricing.custom_line(rng, "gift-wrapping", 350, _currency(order)))


def _discounted_fee(rng: random.Random, order: Json) -> None:
    order["customLineItems"].append(pricing.discounted_custom_line(rng, "insurance", 1000, _currency(order)))


def _voucher(rng: random.Random, order: Json) -> None:
    """Add a voucher: "money: … can be negative": a voucher as a custom line, of less than the goods."""
    goods = sum(line["totalPrice"]["centAmount"] for line in order["lineItems"])
    if goods > 1:
        order["customLineItems"].append(pricing.custom_line(rng, "voucher", -(goods // 2), _currency(order)))


def _shipping(rng: random.Random, order: Json) -> None:
    order["shippingInfo"] = pricing.shipping_info(rng, 490, _currency(order), discounted=rng.random() < SHARE)


def _several_shippings(rng: random.Random, order: Json) -> None:
    """Ship to several addresses: "shipping: … for Multiple ShippingMode": each with its address and its own price."""
    order.pop("shippingInfo", None)
    order["shippingMode"] = "Multiple"
    order["shipping"] = [
        {
            "shippingKey": f"to-{country}",
            "shippingInfo": pricing.shipping_info(rng, minor, _currency(order), discounted=rng.random() < SHARE),
            "shippingAddress": {"country": country, "city": city},
        }
        for minor, country, city in ((400, "DE", "Ulm"), (500, "AT", "Graz"))
    ]


def _discount_on_total(_rng: random.Random, order: Json) -> None:
    goods = sum(line["totalPrice"]["centAmount"] for line in order["lineItems"])
    off = pricing.money(goods // 10, _currency(order))
    order["discountOnTotalPrice"] = {"discountedAmount": off, "includedDiscounts": []}


def _sent_abroad(_rng: random.Random, order: Json) -> None:
    """Send it abroad: "country: … used for Product Variant price selection", while the goods go to another one."""
    order["country"] = "DE"
    if order["shippingMode"] == "Single":
        order["shippingAddress"] = {"country": "AT", "city": "Graz"}


def _two_parcels(rng: random.Random, order: Json) -> None:
    if "shippingInfo" not in order:
        return
    at = order["lastModifiedAt"]
    items = [{"id": line["id"], "quantity": line["quantity"]} for line in order["lineItems"]]
    parcels = [
        {"id": uuid(rng), "createdAt": at, "items": items, "trackingData": {"trackingId": "1Z", "carrier": "DHL"}},
        {"id": uuid(rng), "createdAt": at, "items": []},
    ]
    order["shippingInfo"]["deliveries"] = [{"id": uuid(rng), "createdAt": at, "items": items, "parcels": parcels}]


def _returned(rng: random.Random, order: Json) -> None:
    at = order["lastModifiedAt"]
    item = {
        "id": uuid(rng),
        "type": "LineItemReturnItem",
        "lineItemId": order["lineItems"][0]["id"],
        "quantity": 1,
        "shipmentState": "Returned",
        "paymentState": "Refunded",
        "lastModifiedAt": at,
        "createdAt": at,
    }
    order["returnInfo"] = [{"items": [item], "returnTrackingId": "R1", "returnDate": at}]


def _codes_and_payments(rng: random.Random, order: Json) -> None:
    code = reference("discount-code", uuid(rng))
    order["discountCodes"] = [{"discountCode": code, "state": rng.choice(_STATES_OF_CODES)}]
    order["paymentInfo"] = {"payments": [reference("payment", uuid(rng))]}
    order["syncInfo"] = [
        {"channel": reference("channel", uuid(rng)), "externalId": "ERP-1", "syncedAt": order["lastModifiedAt"]}
    ]


def _field_called_kind(rng: random.Random, order: Json) -> None:
    """Add a custom field of the merchant's own, whose name means something elsewhere."""
    order["lineItems"][0]["custom"] = {"type": reference("type", uuid(rng)), "fields": {"kind": "premium"}}


def _first_name_blank(_rng: random.Random, order: Json) -> None:
    order["lineItems"][0]["name"] = {"de": " ", "fr": "Pantalon"}


def _clock_behind(_rng: random.Random, order: Json) -> None:
    """Let the servers of the platform differ by a second."""
    order["createdAt"] = later(order["lastModifiedAt"], 1 / 86_400)


def _without_sku(_rng: random.Random, order: Json) -> None:
    """Leave out a SKU: "sku: user-defined unique SKU of the Product Variant", which is optional."""
    order["lineItems"][-1]["variant"].pop("sku", None)


FORMS: tuple[Callable[[random.Random, Json], None], ...] = (
    _without_number,
    _fee,
    _discounted_fee,
    _voucher,
    _shipping,
    _several_shippings,
    _discount_on_total,
    _sent_abroad,
    _two_parcels,
    _returned,
    _codes_and_payments,
    _field_called_kind,
    _first_name_blank,
    _clock_behind,
    _without_sku,
)
