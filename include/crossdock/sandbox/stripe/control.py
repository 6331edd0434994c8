"""The control routes of the provider: its ledger, and what customers, banks and time do."""

from collections.abc import Callable, Mapping
from typing import Any

from crossdock.sandbox.engine.control import RouteKey
from crossdock.sandbox.engine.messages import Request
from crossdock.sandbox.engine.problems import invalid_input
from crossdock.sandbox.stripe.idempotency import IdempotencyKeys
from crossdock.sandbox.stripe.state import ProviderState
from crossdock.sandbox.stripe.webhooks import WebhookSender

Json = dict[str, Any]


def routes_of(
    state: ProviderState, keys: IdempotencyKeys, webhooks: WebhookSender
) -> Mapping[RouteKey, Callable[[Request], Json]]:
    """List the control routes."""

    def webhook(request: Request) -> Json:
        document = request.json()
        webhooks.url, webhooks.secret = document.get("url"), document.get("secret", webhooks.secret)
        return {"url": webhooks.url}

    def resend(request: Request) -> Json:
        wanted = request.json().get("events")
        with state.lock:
            events = [event for event in state.events.values() if wanted is None or event["id"] in wanted]
        for event in events:
            webhooks.send(event)
        return {"sent": [event["id"] for event in events]}

    def authenticate(request: Request) -> Json:
        document = request.json()
        with state.lock:
            return state.authenticate(
                _text(document, "payment_intent"), succeeds=document.get("succeeds", True) is True
            )

    def end_refund(request: Request) -> Json:
        with state.lock:
            return state.end_refund(_text(request.json(), "refund"))

    def close_dispute(request: Request) -> Json:
        document = request.json()
        with state.lock:
            return state.close_dispute(_text(document, "dispute"), won=document.get("won") is True)

    def ledger(_request: Request) -> Json:
        with state.lock:
            return {"movements": list(state.ledger), "disputes": list(state.disputes.values())}

    return {
        ("GET", ("ledger",)): ledger,
        ("PUT", ("webhook",)): webhook,
        ("GET", ("webhook",)): lambda _request: {"url": webhooks.url, "delivered": dict(webhooks.delivered)},
        ("POST", ("events", "resend")): resend,
        ("POST", ("authenticate",)): authenticate,
        ("POST", ("end_refund",)): end_refund,
        ("POST", ("close_dispute",)): close_dispute,
        ("POST", ("forget_keys",)): lambda _request: {"forgotten": keys.forget()},
    }


def _text(document: Json, name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise invalid_input(f"{name!r} must be the ID of an object.")
    return value
