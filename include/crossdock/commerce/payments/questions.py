"""What a person is asked about a payment: what became of a call whose outcome nobody knows."""

from __future__ import annotations

from datetime import timedelta

from crossdock.commerce.payments.model import Leg, Operation
from crossdock.core.roles import Role
from crossdock.db.database import Work
from crossdock.integrations.attempts.model import Outcome
from crossdock.observability import decisions
from crossdock.observability.decisions import DecisionKind

_DID = {
    Operation.AUTHORISE: "authorise the payment",
    Operation.FINISH: "finish the authorisation",
    Operation.CAPTURE: "capture the amount",
    Operation.REFUND: "refund the amount",
    Operation.VOID: "release the authorisation",
}


def ask(work: Work, leg: Leg, *, opens_in: timedelta = timedelta(0)) -> None:
    """
    Ask what became of *leg*, unless its caller asks.

    With *opens_in*, the question is there once its call must be over: a process that is killed asks nobody.
    """
    if not leg.asks_person:
        return
    decisions.ask(
        work,
        DecisionKind.PAYMENT,
        str(leg.leg_id),
        about=leg.payment_id,
        question=(
            f"Nobody knows whether {leg.gateway} did {_DID[leg.operation]}. Look there for {leg.reference}. If it did, say done, "
            "with its reference of what it did"
        ),
        choices=(Outcome.DONE, Outcome.REFUSED, Outcome.FAILED),
        role=Role.OPERATOR,
        opens_in=opens_in,
    )


def withdraw(work: Work, leg: Leg) -> None:
    """Take the question about *leg* back: its outcome is known."""
    if leg.asks_person:
        decisions.withdraw(work, DecisionKind.PAYMENT, str(leg.leg_id))


def record(work: Work, leg: Leg, choice: Outcome, *, actor: str) -> None:
    """Record what a person said about *leg*, if somebody was asked."""
    decisions.record(work, DecisionKind.PAYMENT, str(leg.leg_id), choice, actor=actor)
