"""Apply what gateways report about payments."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from crossdock.commerce.payments import facts, repository
from crossdock.commerce.payments.events import PaymentFact
from crossdock.commerce.payments.model import FactOrigin
from crossdock.core.errors import BadEvent
from crossdock.db.database import Work
from crossdock.events.model import Event

_decode = msgspec.json.Decoder(PaymentFact).decode


def apply(work: Work, events: Sequence[Event]) -> list[str]:
    """
    Apply the facts of *events* to their payments; return the references of those. Idempotent; their order does not matter.

    Raises:
        BadEvent: the data are no fact about a payment; a retry would not help.

    """
    said = [_fact(event) for event in events]
    facts.apply(work, said, FactOrigin.EVENT)
    return repository.references_of(work, sorted({(fact.gateway, fact.payment_ref) for fact in said}))


def _fact(event: Event) -> PaymentFact:
    try:
        return _decode(event.data)
    except msgspec.DecodeError as error:
        raise BadEvent(event.id, event.type, str(error)) from error
