"""A call of each action of Stripe, what must have happened before it, and what it moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

REFERENCE = "order-4711"


class Case(NamedTuple):
    """A call of an action."""

    #: The sandbox's route that it calls.
    route: str
    #: The payment's reference → a valid input.
    given: Callable[[str], dict[str, Any]]
    #: What happened to the payment before.
    after: tuple[str, ...] = ()
    #: What the provider's ledger has then, in its units.
    moves: tuple[tuple[str, int], ...] = ()


def _of(payment_ref: str, **fields: Any) -> dict[str, Any]:
    return {"payment_ref": payment_ref, "reference": REFERENCE, **fields}


CASES = {
    "authorise": Case(
        "create_payment_intent",
        lambda _: {
            "reference": REFERENCE,
            "amount_minor": 1999,
            "currency": "EUR",
            "payment_method": "pm_card_visa",
        },
        moves=(("authorised", 1999),),
    ),
    "finish": Case("retrieve_payment_intent", lambda payment: {"payment_ref": payment, "details": {}}, ("authorise",)),
    "capture": Case(
        "capture_payment_intent",
        lambda payment: _of(payment, amount_minor=1999, currency="EUR"),
        ("authorise",),
        (("captured", 1999),),
    ),
    "void": Case("cancel_payment_intent", _of, ("authorise",), (("released", 1999),)),
    "refund": Case(
        "create_refund",
        lambda payment: _of(payment, amount_minor=500, currency="EUR"),
        ("authorise", "capture"),
        (("refunded", 500),),
    ),
    "find_payment": Case(
        "list_payment_intents",
        lambda _: {"reference": REFERENCE, "since": "2026-01-01T00:00:00Z"},
        ("authorise",),
    ),
    "get_payment": Case("retrieve_payment_intent", lambda payment: {"payment_ref": payment}, ("authorise", "capture")),
    "get_refunds": Case("list_refunds", lambda payment: {"payment_ref": payment}, ("authorise", "capture", "refund")),
}
WRITES = [name for name, case in CASES.items() if case.moves]
