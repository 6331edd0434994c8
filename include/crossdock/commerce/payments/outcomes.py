"""What the end of a gateway's call means for a leg, for its facts and for the gateway's health."""

from __future__ import annotations

from datetime import datetime

import msgspec

from crossdock.commerce.payments.events import PaymentFact
from crossdock.commerce.payments.kinds import STAGES, kind_of
from crossdock.commerce.payments.model import INPUT_REFUSED, Leg, LegEnd, Operation
from crossdock.integrations.actions.model import (
    Document,
    Done,
    Ended,
    Failed,
    InputInvalid,
    Refused,
    RefusedBy,
    Unknown,
)
from crossdock.integrations.attempts.model import Outcome

#: The code of an answer that is about another payment.
OF_ANOTHER = "another_payment"
_ANSWER_GONE = "It was done, and the gateway does not repeat its answer. Its event or a person has to say its reference"


def end_of(leg: Leg, ended: Ended) -> LegEnd:
    """Say how a leg ended. One that was done, but whose answer is gone, has no reference to go on with: it is unknown."""
    match ended:
        case Done(output=None):
            return LegEnd(outcome=Outcome.UNKNOWN, message=_ANSWER_GONE)
        case Done(output=output) if output is not None:
            return LegEnd(
                outcome=Outcome.DONE,
                payment_ref=output.get("payment_ref") or leg.payment_ref,
                operation_ref=output["operation_ref"] or leg.operation_ref,
                next_action_url=output.get("next_action_url"),
            )
        case Refused():
            return LegEnd(
                outcome=Outcome.REFUSED,
                refused_by=ended.by,
                code=ended.code,
                message=ended.message,
                try_other=ended.try_other,
            )
        case Failed():
            return LegEnd(outcome=Outcome.FAILED, message=ended.message, try_other=True)
        case _:
            return LegEnd(outcome=Outcome.UNKNOWN, message=ended.message if isinstance(ended, Unknown) else None)


def input_refused(error: InputInvalid) -> Refused:
    """Say how a call ended that was not made, since the gateway's action does not take such a payment. Another one may."""
    return Refused(str(error), code=INPUT_REFUSED, try_other=True)


def of_this_payment(leg: Leg, ended: Ended) -> Ended:
    """Refuse the end of another payment: a customer may bring back what belongs to one of a smaller amount."""
    reference = ended.output.get("reference") if isinstance(ended, Done) and ended.output else None
    if leg.operation is not Operation.FINISH or reference in (None, leg.reference):
        return ended
    return Refused(
        f"The details are not those of {leg.reference}, but of another payment at {leg.gateway}", code=OF_ANOTHER
    )


def of_another() -> LegEnd:
    """Say how a leg ended whose answer names a reference of another payment: nobody knows what became of it."""
    message = "The gateway gave a reference that belongs to another payment. A person has to look it up there"
    return LegEnd(outcome=Outcome.UNKNOWN, message=message)


def in_another_currency(end: LegEnd, currency: str) -> LegEnd:
    """Say how a leg ended whose answer is in *currency*, which nobody asked for: a person has to look."""
    message = (
        f"The gateway answered in {currency}, which is not the payment's currency. A person has to look it up there"
    )
    return msgspec.structs.replace(end, outcome=Outcome.UNKNOWN, message=message)


def facts_in(leg: Leg, ended: Ended, at: datetime) -> list[PaymentFact]:
    """Read the facts of an answer."""
    match ended:
        case Done(output=output) if output is not None:
            return [_fact(leg, output, at)]
        case Refused(by=RefusedBy.DECISION) if leg.operation is Operation.FINISH:
            # The authorisation itself was done: it waited for the customer, and has failed now.
            return [_fact(leg, {"state": "declined", "code": ended.code}, at)]
        case _:
            return []


def answered(ended: Ended) -> bool:
    """Check whether the gateway works: a decline is an answer, and so is a refusal of what we asked, not of our account."""
    match ended:
        case Done():
            return True
        case Refused():
            return ended.by is RefusedBy.DECISION or not ended.try_other
        case _:
            return False


def _fact(leg: Leg, output: Document, at: datetime) -> PaymentFact:
    # While the gateway has no name for the payment, ours stands for it: `facts` replaces it.
    payment_ref = output.get("payment_ref") or leg.payment_ref or leg.reference
    return PaymentFact(
        gateway=leg.gateway,
        payment_ref=payment_ref,
        operation_ref=output.get("operation_ref") or leg.operation_ref or payment_ref,
        kind=kind_of(leg.operation.topic, STAGES[output["state"]]),
        occurred_at=at,
        amount_minor=output.get("amount_minor"),
        currency=output.get("currency"),
        reference=leg.reference,
        code=output.get("code"),
    )
