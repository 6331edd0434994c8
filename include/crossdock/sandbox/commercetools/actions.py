"""The vendor's update actions: each changes a document, or refuses in the vendor's words."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from crossdock.sandbox.commercetools.catalogue import stored, with_own_data
from crossdock.sandbox.commercetools.collection import Json
from crossdock.sandbox.commercetools.data.order_pricing import EXPONENTS, money
from crossdock.sandbox.commercetools.entities import CUSTOMERS, INVENTORY, ORDERS, PRICES, PRODUCTS
from crossdock.sandbox.commercetools.problems import VendorError, invalid_input
from crossdock.sandbox.engine import clock

Action = Callable[[Json, Json], None]

_LEAST, _MOST = -(2**63), 2**63 - 1
_ORDER_STATES = ("Open", "Confirmed", "Complete", "Cancelled")
_PAYMENT_STATES = ("BalanceDue", "Failed", "Pending", "CreditOwed", "Paid")
_SHIPMENT_STATES = ("Shipped", "Delivered", "Ready", "Pending", "Delayed", "Partial", "Backorder", "Canceled")


def apply(entity: str, document: Json, actions: Any) -> None:
    """
    Apply *actions* to the document, in order.

    Raises:
        VendorError: 400; discard the document, some of it may have changed.

    """
    if not isinstance(actions, list):
        raise invalid_input("Request body does not contain valid JSON: actions: expected a list.")
    changed = with_own_data(document) if entity == PRODUCTS.name else document
    for action in actions:
        name = action.get("action") if isinstance(action, dict) else None
        known = _ACTIONS.get(entity, {})
        if not isinstance(name, str) or name not in known:
            raise invalid_input(f"Unknown update action '{name}'; the sandbox knows {', '.join(sorted(known))}.")
        for part in _parts(changed, action) if entity == PRODUCTS.name else [document]:
            known[name](part, action)
    if entity == PRODUCTS.name:
        changed = stored(changed, document)
        document.clear()
        document.update(changed)


def _parts(product: Json, action: Json) -> list[Json]:
    """List what an action changes of a product: its staged data, and its current data unless `staged`, which is true by default."""
    catalogue = product["masterData"]
    if action["action"] in ("publish", "unpublish"):
        return [catalogue]
    only_staged = flag_of(action, "staged", default=True)
    return [catalogue["staged"]] if only_staged else [catalogue["current"], catalogue["staged"]]


def flag_of(fields: Json, name: str, *, default: bool) -> bool:
    """
    Read a flag from *fields*.

    Raises:
        VendorError: 400, the field is of another type.

    """
    value = fields.get(name, default)
    if not isinstance(value, bool):
        raise invalid_input(f"Request body does not contain valid JSON: {name}: expected a boolean.")
    return value


def integer(fields: Json, name: str) -> int:
    """
    Read a 64-bit integer from *fields*.

    Raises:
        VendorError: 400, the field is missing or of another type.

    """
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not _LEAST <= value <= _MOST:
        raise invalid_input(f"Request body does not contain valid JSON: {name}: expected a 64-bit integer.")
    return value


def text(fields: Json, name: str) -> str:
    """
    Read a text from *fields*.

    Raises:
        VendorError: 400, the field is missing or of another type.

    """
    value = fields.get(name)
    if not isinstance(value, str):
        raise invalid_input(f"Request body does not contain valid JSON: {name}: expected a string.")
    return value


def instant(fields: Json, name: str) -> str:
    """
    Read a timestamp from *fields*, in the form that the retailer writes.

    Raises:
        VendorError: 400, the field is missing or of another type.

    """
    found = clock.instant_of(text(fields, name))
    if found is None:
        raise invalid_input(f"Request body does not contain valid JSON: {name}: expected a DateTime.")
    return clock.text_of(found)


def reference(fields: Json, name: str) -> Json:
    """
    Read a reference from *fields*.

    Raises:
        VendorError: 400, the field is missing or of another type.

    """
    value = fields.get(name)
    if not isinstance(value, dict):
        raise invalid_input(f"Request body does not contain valid JSON: {name}: expected a reference.")
    return {"typeId": text(value, "typeId"), "id": text(value, "id")}


def _replace(name: str, read: Callable[[Json, str], Any]) -> Action:
    """Make an action that replaces the field with its required value."""

    def act(document: Json, action: Json) -> None:
        document[name] = read(action, name)

    return act


def _set(name: str, read: Callable[[Json, str], Any]) -> Action:
    """Make an action that sets the field, or removes it if the action has no value."""

    def act(document: Json, action: Json) -> None:
        if action.get(name) is None:
            document.pop(name, None)
        else:
            document[name] = read(action, name)

    return act


def _one_of(*known: str) -> Callable[[Json, str], str]:
    def read(action: Json, name: str) -> str:
        value = text(action, name)
        if value not in known:
            raise invalid_input(f"'{value}' is not a valid {name}. Valid values: {', '.join(known)}.")
        return value

    return read


def _localised(action: Json, name: str) -> Json:
    value = action.get(name)
    if not isinstance(value, dict) or not all(isinstance(word, str) for word in value.values()):
        raise invalid_input(f"Request body does not contain valid JSON: {name}: expected a LocalizedString.")
    return value


def _change_stock(sign: int) -> Action:
    def act(entry: Json, action: Json) -> None:
        step = sign * integer(action, "quantity")
        for name in ("quantityOnStock", "availableQuantity"):
            # A flawed row may hold text here; the vendor's own never do.
            entry[name] = (entry[name] if isinstance(entry.get(name), int) else 0) + step
            integer(entry, name)

    return act


def _set_stock(entry: Json, action: Json) -> None:
    quantity = integer(action, "quantity")
    before = entry.get("quantityOnStock")
    reserved = before - entry["availableQuantity"] if isinstance(before, int) else 0
    entry["quantityOnStock"] = quantity
    entry["availableQuantity"] = quantity - max(0, reserved)


def _update_sync_info(order: Json, action: Json) -> None:
    """Replace what is noted of one channel; each channel has one entry."""
    channel, external_id = reference(action, "channel"), action.get("externalId")
    entry: Json = {"channel": channel, "syncedAt": instant(action, "syncedAt")}
    if external_id is not None:
        entry["externalId"] = text(action, "externalId")
    others = [known for known in order.get("syncInfo") or () if known["channel"]["id"] != channel["id"]]
    order["syncInfo"] = [*others, entry]


def _variants(product: Json) -> list[Json]:
    master = product.get("masterVariant")
    return [*([master] if master else []), *product.get("variants", ())]


def _money(value: Any) -> Json:
    if not isinstance(value, dict):
        raise invalid_input("Request body does not contain valid JSON: value: expected Money.")
    _refuse_others(value, "type", "centAmount", "currencyCode", "fractionDigits")
    cent_amount, currency = integer(value, "centAmount"), text(value, "currencyCode")
    if currency not in EXPONENTS:
        raise VendorError(400, f"The sandbox does not know the minor units of '{currency}'.", "InvalidOperation")
    if value.get("type", "centPrecision") != "centPrecision":
        raise VendorError(400, "The sandbox takes amounts in cents only.", "InvalidOperation")
    return money(cent_amount, currency)


def _refuse_others(document: Json, *known: str) -> None:
    """Refuse a field whose effect the sandbox does not have: without it, the resource would be wrong."""
    for name in document:
        if name not in known:
            raise VendorError(400, f"The sandbox does not implement the field '{name}'.", "InvalidOperation")


def _change_price(product: Json, action: Json) -> None:
    price_id, draft = text(action, "priceId"), action.get("price")
    if not isinstance(draft, dict):
        raise invalid_input("Request body does not contain valid JSON: price: expected a PriceDraft.")
    for variant in _variants(product):
        for number, price in enumerate(variant.get("prices", ())):
            if price["id"] == price_id:
                variant["prices"][number] = {"id": price_id, **_price(draft)}
                return
    raise VendorError(400, f"No price with ID '{price_id}' found.", "InvalidOperation")


def _price(draft: Json) -> Json:
    """Make the price of a *draft*, which replaces a price as a whole: what the draft leaves out is gone."""
    _refuse_others(draft, "value", *_OPTIONAL_OF_PRICES)
    optional = {name: read(draft, name) for name, read in _OPTIONAL_OF_PRICES.items() if draft.get(name) is not None}
    return {"value": _money(draft.get("value")), **optional}


def _tiers(draft: Json, name: str) -> list[Json]:
    tiers = draft[name]
    if not isinstance(tiers, list) or not all(isinstance(tier, dict) for tier in tiers):
        raise invalid_input(f"Request body does not contain valid JSON: {name}: expected a list of PriceTierDraft.")
    return [{"minimumQuantity": integer(tier, "minimumQuantity"), "value": _money(tier.get("value"))} for tier in tiers]


def _custom(draft: Json, name: str) -> Json:
    custom = draft[name]
    if not isinstance(custom, dict) or not isinstance(custom.get("fields", {}), dict):
        raise invalid_input(f"Request body does not contain valid JSON: {name}: expected a CustomFieldsDraft.")
    return {"type": reference(custom, "type"), "fields": custom.get("fields", {})}


_OPTIONAL_OF_PRICES: dict[str, Callable[[Json, str], Any]] = {
    "key": text,
    "country": text,
    "customerGroup": reference,
    "channel": reference,
    "validFrom": instant,
    "validUntil": instant,
    "tiers": _tiers,
    "custom": _custom,
    "recurrencePolicy": reference,
}


def _change_value(price: Json, action: Json) -> None:
    if flag_of(action, "staged", default=False):
        raise VendorError(
            400, "The sandbox does not implement staged changes of a standalone price.", "InvalidOperation"
        )
    price["value"] = _money(action.get("value"))


def _change_active(price: Json, action: Json) -> None:
    if "active" not in action:
        raise invalid_input("Request body does not contain valid JSON: active: expected a boolean.")
    price["active"] = flag_of(action, "active", default=False)


def _publish(catalogue: Json, _action: Json) -> None:
    """Show customers what was staged."""
    catalogue |= {"published": True, "current": deepcopy(catalogue["staged"])}


def _unpublish(catalogue: Json, _action: Json) -> None:
    catalogue["published"] = False


_ACTIONS: dict[str, dict[str, Action]] = {
    INVENTORY.name: {
        "addQuantity": _change_stock(1),
        "removeQuantity": _change_stock(-1),
        "changeQuantity": _set_stock,
        "setKey": _set("key", text),
        "setRestockableInDays": _set("restockableInDays", integer),
        "setExpectedDelivery": _set("expectedDelivery", instant),
        "setSupplyChannel": _set("supplyChannel", reference),
    },
    PRODUCTS.name: {
        "changeName": _replace("name", _localised),
        "setDescription": _set("description", _localised),
        "changePrice": _change_price,
        "publish": _publish,
        "unpublish": _unpublish,
    },
    PRICES.name: {"changeValue": _change_value, "changeActive": _change_active, "setKey": _set("key", text)},
    ORDERS.name: {
        "changeOrderState": _replace("orderState", _one_of(*_ORDER_STATES)),
        "changePaymentState": _set("paymentState", _one_of(*_PAYMENT_STATES)),
        "changeShipmentState": _set("shipmentState", _one_of(*_SHIPMENT_STATES)),
        "setOrderNumber": _set("orderNumber", text),
        "updateSyncInfo": _update_sync_info,
    },
    CUSTOMERS.name: {
        "changeEmail": _replace("email", text),
        "setFirstName": _set("firstName", text),
        "setLastName": _set("lastName", text),
    },
}
