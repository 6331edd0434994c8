"""
Run by the SDK's own Python, never by ours.

`calls.py flows URL` makes every call that the sandbox simulates, as the vendor's own client makes it. `calls.py judge` reads
requests and answers from its standard input and says which names and values the SDK's types do not have. `calls.py verify
SECRET` verifies signed webhooks, and signs one. Each writes one JSON document. The key comes from SANDBOX_STRIPE_KEY.
"""

import builtins
import json
import os
import sys
import time
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import stripe
from stripe import params


def flows(url: str) -> dict[str, Any]:
    """Pay, capture, refund, cancel and list; and what the SDK makes of each refusal."""
    client = stripe.StripeClient(os.environ["SANDBOX_STRIPE_KEY"], base_addresses={"api": url}, max_network_retries=0)
    intents, refunds = client.v1.payment_intents, client.v1.refunds

    def paid(method: str, key: str, **more: Any) -> stripe.PaymentIntent:
        form = {
            "amount": 1999,
            "currency": "eur",
            "payment_method": method,
            "confirm": True,
            "capture_method": "manual",
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "metadata": {"order": key},
            **more,
        }
        return intents.create(params=form, options={"idempotency_key": key})

    first = paid("pm_card_visa", "a")
    again = paid("pm_card_visa", "a")
    captured = intents.capture(first.id, params={"amount_to_capture": 1500, "metadata": {"capture": "1"}})
    refund = refunds.create(params={"payment_intent": first.id, "amount": 400}, options={"idempotency_key": "r"})
    canceled = intents.cancel(paid("pm_card_mastercard", "b").id)
    asked = paid(
        "pm_card_threeDSecure2Required",
        "c",
        return_url="https://shop.example/back",
        automatic_payment_methods={"enabled": True},
    )
    charge = client.v1.charges.retrieve(str(captured.latest_charge))
    listed = [intent.id for intent in intents.list(params={"limit": 2}).auto_paging_iter()]
    since = intents.list(params={"created": {"gte": first.created}, "expand": ["data.latest_charge"]})
    events = client.v1.events.list(params={"limit": 100})
    return {
        "authorised": [first.object, first.status, first.amount, first.amount_capturable, first.metadata["order"]],
        "replayed": [again.id == first.id, again.last_response.headers["Idempotent-Replayed"]],
        "captured": [captured.status, captured.amount_received, captured.metadata.to_dict()],
        "charge": [charge.captured, charge.amount_captured, charge.payment_method_details.card.brand],
        "refund": [refund.object, refund.status, refund.amount, refund.payment_intent == first.id],
        "retrieved": [refunds.retrieve(refund.id).id == refund.id, intents.retrieve(first.id).id == first.id],
        "refunds": [each.id == refund.id for each in refunds.list(params={"payment_intent": first.id})],
        "canceled": [canceled.status, canceled.amount_capturable],
        "asked": [asked.status, asked.next_action.type, asked.next_action.redirect_to_url.return_url],
        "listed": [len(listed), len(set(listed)), listed[-1] == first.id],
        "expanded": [type(intent.latest_charge).__name__ for intent in since],
        "events": sorted({event.type for event in events}),
        "event": client.v1.events.retrieve(events.data[0].id).data.object["object"],
        "decline": refused(lambda: paid("pm_card_visa_chargeDeclinedInsufficientFunds", "d")),
        "other parameters": refused(lambda: paid("pm_card_visa", "a", amount=1)),
        "no such payment": refused(lambda: intents.retrieve("pi_none")),
        "captured twice": refused(lambda: intents.capture(first.id)),
        "too much": refused(lambda: refunds.create(params={"payment_intent": first.id, "amount": 1101})),
        "unknown parameter": refused(lambda: intents.create(params={"amount": 1, "currency": "eur", "colour": "red"})),
        "wrong key": refused(stripe.StripeClient("sk_test_guess", base_addresses={"api": url}).v1.refunds.list),
    }


def refused(call: Callable[[], object]) -> list[Any] | None:
    """What the SDK makes of a refusal: its class, and the words by which a client decides."""
    try:
        call()
    except stripe.StripeError as error:
        found = error.error
        return [type(error).__name__, error.http_status, error.code, found.decline_code if found else None]
    return None


#: Method and path → the SDK's types of the parameters and of the answer.
TYPES: dict[tuple[str, str], tuple[Any, Any]] = {
    ("POST", "/v1/payment_intents"): (params.PaymentIntentCreateParams, stripe.PaymentIntent),
    ("POST", "/v1/payment_intents/*/capture"): (params.PaymentIntentCaptureParams, stripe.PaymentIntent),
    ("POST", "/v1/payment_intents/*/cancel"): (params.PaymentIntentCancelParams, stripe.PaymentIntent),
    ("GET", "/v1/payment_intents"): (params.PaymentIntentListParams, stripe.PaymentIntent),
    ("GET", "/v1/payment_intents/*"): (params.PaymentIntentRetrieveParams, stripe.PaymentIntent),
    ("POST", "/v1/refunds"): (params.RefundCreateParams, stripe.Refund),
    ("GET", "/v1/refunds"): (params.RefundListParams, stripe.Refund),
    ("GET", "/v1/charges/*"): (params.ChargeRetrieveParams, stripe.Charge),
    ("GET", "/v1/disputes/*"): (params.DisputeRetrieveParams, stripe.Dispute),
    ("GET", "/v1/events/*"): (params.EventRetrieveParams, stripe.Event),
}


def judge(exchanges: list[dict[str, Any]]) -> list[list[str]]:
    """For each exchange: what the SDK's types do not have."""
    return [list(faults_of(exchange)) for exchange in exchanges]


def faults_of(exchange: dict[str, Any]) -> Iterator[str]:
    parts = exchange["path"].split("/")
    pattern = "/".join("*" if number == 3 else part for number, part in enumerate(parts))
    form, answer = TYPES[exchange["method"], pattern]
    yield from unknown(exchange["parameters"], form, "parameters")
    documents = exchange["answer"]["data"] if exchange["answer"].get("object") == "list" else [exchange["answer"]]
    for document in documents:
        yield from unknown(document, answer, "answer")


def unknown(document: Any, kind: Any, where: str) -> Iterator[str]:
    """The names and values in *document* that the type *kind* does not have."""
    hints = typing.get_type_hints(kind, localns=Names(kind))
    for name, value in document.items():
        if name not in hints:
            yield f"{where}.{name} is unknown"
            continue
        yield from wrong(value, choices(hints[name]), f"{where}.{name}")


class Names(dict[str, Any]):
    """What the annotations of the SDK's types refer to; what it imports only for type checkers is anything."""

    def __init__(self, kind: Any) -> None:
        modules = (builtins, typing, stripe, params, sys.modules[kind.__module__])
        super().__init__({name: value for module in modules for name, value in vars(module).items()})

    def __missing__(self, name: str) -> Any:
        return Any


def choices(hint: Any) -> list[Any]:
    """The alternatives of a type."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [each for part in typing.get_args(hint) for each in choices(part)]
    return [hint]


def wrong(value: Any, kinds: list[Any], where: str) -> Iterator[str]:
    literals = [word for kind in kinds if typing.get_origin(kind) is typing.Literal for word in typing.get_args(kind)]
    if isinstance(value, str) and literals and value not in literals and where != "answer.latest_charge":
        yield f"{where}: {value!r} is none of {literals}"
    plain = [kind for kind in kinds if kind in (int, bool, str)]
    if where.startswith("answer") and value is not None and len(kinds) == 1 and plain and type(value) is not kinds[0]:
        yield f"{where}: {value!r} is not {kinds[0].__name__}"
    if value is None and where.startswith("answer") and type(None) not in kinds:
        yield f"{where}: null is not allowed"
    shaped = [kind for kind in kinds if isinstance(kind, type) and "UntypedStripeObject" not in kind.__name__]
    shaped = [kind for kind in shaped if kind is not dict and getattr(kind, "__annotations__", None)]
    if isinstance(value, dict) and len(shaped) == 1:
        yield from unknown(value, shaped[0], where)


def verify(secret: str, deliveries: list[dict[str, str]]) -> dict[str, Any]:
    """Verify what the sandbox signed; and sign a payload as the SDK's tests do."""
    events = [stripe.Webhook.construct_event(each["body"], each["signature"], secret) for each in deliveries]
    try:
        stripe.Webhook.construct_event(deliveries[0]["body"] + " ", deliveries[0]["signature"], secret)
        is_forgery_refused = False
    except stripe.SignatureVerificationError:
        is_forgery_refused = True
    body = json.dumps({"id": "evt_of_the_sdk", "object": "event"})
    at = int(time.time())
    signed = stripe.WebhookSignature._compute_signature(f"{at}.{body}", secret)
    header = f"t={at},{stripe.WebhookSignature.EXPECTED_SCHEME}={signed}"
    return {
        "types": [event.type for event in events],
        "forgery refused": is_forgery_refused,
        "signed": {"body": body, "signature": header},
    }


match sys.argv[1:]:
    case "flows", url:
        answer: Any = flows(url)
    case "judge", *_:
        answer = judge(json.load(sys.stdin))
    case "verify", secret:
        answer = verify(secret, json.load(sys.stdin))
    case _:
        sys.exit("flows URL, judge, or verify SECRET")
sys.stdout.write(json.dumps(answer))
