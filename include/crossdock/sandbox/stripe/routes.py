"""The vendor's routes: what each takes, and what it answers."""

from collections.abc import Callable, Iterable
from typing import Any

from crossdock.sandbox.stripe.documents import Json
from crossdock.sandbox.stripe.forms import refuse_unknown, whole
from crossdock.sandbox.stripe.payment_methods import PAYMENT_METHODS
from crossdock.sandbox.stripe.problems import invalid, missing
from crossdock.sandbox.stripe.state import ProviderState

_DEFAULT_LIMIT, _MAX_LIMIT = 10, 100
_LARGEST_AMOUNT = 99_999_999
_LIST = frozenset({"limit", "starting_after", "ending_before", "created", "expand"})
_CREATE = frozenset(
    {
        "amount",
        "automatic_payment_methods",
        "capture_method",
        "confirm",
        "currency",
        "description",
        "expand",
        "metadata",
        "payment_method",
        "return_url",
    }
)
_CAPTURE = frozenset({"amount_to_capture", "expand", "metadata"})
_CANCEL = frozenset({"cancellation_reason", "expand"})
_REFUND = frozenset({"amount", "charge", "expand", "metadata", "payment_intent", "reason"})
_BOUNDS: dict[str, Callable[[int, int], bool]] = {
    "gt": int.__gt__,
    "gte": int.__ge__,
    "lt": int.__lt__,
    "lte": int.__le__,
}


class Routes:
    """Reads and writes the provider's objects as its API does. Hold the state's lock."""

    def __init__(self, state: ProviderState) -> None:
        self._state = state

    def create_intent(self, form: Json) -> Json:
        """Create a payment intent and, if asked, confirm it."""
        refuse_unknown(form, _CREATE)
        form = {
            **form,
            "amount": whole(form, "amount", high=_LARGEST_AMOUNT),
            "currency": _currency(form),
            "automatic_payment_methods": _automatic(form),
        }
        method = form.get("payment_method")
        if method is not None and method not in PAYMENT_METHODS:
            raise missing("PaymentMethod", str(method)[:80], "payment_method")
        confirms = form.get("confirm") == "true"
        if confirms and method is None:
            raise invalid("You cannot confirm without a payment method.", param="payment_method")
        if confirms and form["automatic_payment_methods"]["allow_redirects"] == "always" and not form.get("return_url"):
            raise invalid("This PaymentIntent may redirect, so it needs a return_url.", param="return_url")
        intent = self._state.create_intent(form)
        if confirms:
            self._state.confirm(intent, form)
        return self.shown(intent, _expand(form))

    def confirm_intent(self, intent_id: str, form: Json) -> Json:
        """Confirm a payment intent."""
        refuse_unknown(form, frozenset({"expand", "payment_method", "return_url"}))
        intent = self._state.intent(intent_id)
        method = form.get("payment_method", intent["payment_method"])
        if method not in PAYMENT_METHODS:
            raise missing("PaymentMethod", str(method)[:80], "payment_method")
        intent["payment_method"] = method
        self._state.confirm(intent, form)
        return self.shown(intent, _expand(form))

    def capture_intent(self, intent_id: str, form: Json) -> Json:
        """Capture a payment intent, or a part of it."""
        refuse_unknown(form, _CAPTURE)
        intent = self._state.intent(intent_id)
        amount = whole(form, "amount_to_capture", max(intent["amount_capturable"], 1), high=_LARGEST_AMOUNT)
        self._state.capture(intent, amount, _metadata(form))
        return self.shown(intent, _expand(form))

    def cancel_intent(self, intent_id: str, form: Json) -> Json:
        """Cancel a payment intent."""
        refuse_unknown(form, _CANCEL)
        intent = self._state.intent(intent_id)
        self._state.cancel(intent, form.get("cancellation_reason"))
        return self.shown(intent, _expand(form))

    def create_refund(self, form: Json) -> Json:
        """Refund a payment intent or a charge, or a part of it."""
        refuse_unknown(form, _REFUND)
        amount = whole(form, "amount", 0, low=1 if "amount" in form else 0, high=_LARGEST_AMOUNT) or None
        if "payment_intent" in form:
            intent = self._state.intent(form["payment_intent"], "payment_intent")
            if intent["latest_charge"] is None or intent["status"] != "succeeded":
                message = f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
                raise invalid(message, param="payment_intent")
            charge = self._state.charges[intent["latest_charge"]]
        else:
            charge = self._state.charge(str(form.get("charge", "")), "charge")
        return self.shown(self._state.refund(charge, amount, form), _expand(form))

    def intents(self, query: Json) -> Json:
        """List payment intents, newest first."""
        refuse_unknown(query, _LIST)
        return self._page("/v1/payment_intents", self._state.intents.values(), query)

    def charges(self, query: Json) -> Json:
        """List charges, newest first."""
        refuse_unknown(query, _LIST | {"payment_intent"})
        return self._page("/v1/charges", _of_intent(self._state.charges.values(), query), query)

    def refunds(self, query: Json) -> Json:
        """List refunds, newest first."""
        refuse_unknown(query, _LIST | {"payment_intent", "charge"})
        found = _of_intent(self._state.refunds.values(), query)
        if "charge" in query:
            found = [refund for refund in found if refund["charge"] == query["charge"]]
        return self._page("/v1/refunds", found, query)

    def events(self, query: Json) -> Json:
        """List events, newest first."""
        refuse_unknown(query, _LIST | {"type"})
        found = [event for event in self._state.events.values() if query.get("type") in (None, event["type"])]
        return self._page("/v1/events", found, query)

    def one(self, objects: dict[str, Json], what: str, object_id: str, query: Json) -> Json:
        """Retrieve one object."""
        refuse_unknown(query, frozenset({"expand", "client_secret"}))
        if object_id not in objects:
            raise missing(what, object_id[:80], "id", in_path=True)
        return self.shown(objects[object_id], _expand(query))

    def shown(self, document: Json, expand: set[str]) -> Json:
        """Copy *document*, with the objects in place of the IDs that *expand* names."""
        shown = {**document, "metadata": dict(document["metadata"])} if "metadata" in document else {**document}
        for name in expand:
            match name, document.get(name):
                case "latest_charge" | "charge", str(charge_id):
                    shown[name] = {**self._state.charges[charge_id]}
                case "payment_intent", str(intent_id):
                    shown[name] = {**self._state.intents[intent_id]}
                case _ if name in document:
                    pass
                case _:
                    raise invalid(f"This property cannot be expanded ({name[:80]}).")
        return shown

    def _page(self, url: str, objects: Iterable[Json], query: Json) -> Json:
        limit = whole(query, "limit", _DEFAULT_LIMIT, high=_MAX_LIMIT)
        bounds = _bounds(query.get("created", {}))
        found = [each for each in reversed(list(objects)) if all(holds(each["created"], at) for holds, at in bounds)]
        ids = [each["id"] for each in found]
        if (after := query.get("starting_after")) is not None:
            found = found[_place(ids, after, "starting_after") + 1 :]
        elif (before := query.get("ending_before")) is not None:
            found = found[: _place(ids, before, "ending_before")][-limit:]
        expand = {name.removeprefix("data.") for name in _expand(query)}
        page = [self.shown(each, expand) for each in found[:limit]]
        return {"object": "list", "url": url, "has_more": len(found) > limit, "data": page}


def _currency(form: Json) -> str:
    currency = form.get("currency")
    if not (isinstance(currency, str) and currency.isascii() and currency.isalpha() and len(currency) == 3):  # noqa: PLR2004
        raise invalid("Invalid currency.", param="currency")
    return currency.lower()


def _automatic(form: Json) -> Json:
    """Read how the customer may be sent elsewhere: by default anywhere."""
    given = form.get("automatic_payment_methods", {"enabled": "true"})
    if not isinstance(given, dict) or given.get("enabled") != "true":
        raise invalid("The sandbox simulates automatic payment methods only.", param="automatic_payment_methods")
    return {"allow_redirects": given.get("allow_redirects", "always"), "enabled": True}


def _metadata(form: Json) -> Json:
    metadata = form.get("metadata", {})
    if not isinstance(metadata, dict):
        raise invalid("Invalid object", param="metadata")
    return metadata


def _expand(form: Json) -> set[str]:
    expand = form.get("expand", {})
    return set(expand.values()) if isinstance(expand, dict) else {str(expand)}


def _of_intent(objects: Iterable[Json], query: Json) -> list[Json]:
    return [each for each in objects if query.get("payment_intent") in (None, each["payment_intent"])]


def _bounds(given: Any) -> list[tuple[Callable[[int, int], bool], int]]:
    """Read `created`: an instant, or the bounds of a range."""
    bounds = given if isinstance(given, dict) else {"gte": given, "lte": given}
    if unknown := bounds.keys() - _BOUNDS.keys():
        raise invalid(f"Received unknown parameter: created[{min(unknown)[:20]}]", param="created")
    return [(_BOUNDS[name], whole(bounds, name, high=10**11)) for name in bounds]


def _place(ids: list[str], object_id: str, param: str) -> int:
    if object_id not in ids:
        raise missing("object", object_id[:80], param)
    return ids.index(object_id)
