"""Apply what mail systems report about mails."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from crossdock.commerce.mail import repository
from crossdock.commerce.mail.events import MailFact
from crossdock.commerce.mail.model import effect_key
from crossdock.core.errors import BadEvent
from crossdock.db.database import Work
from crossdock.events.model import Event
from crossdock.integrations.attempts import repository as attempts
from crossdock.integrations.attempts.model import Outcome, Resolution

_decode = msgspec.json.Decoder(MailFact).decode


def apply(work: Work, events: Sequence[Event]) -> None:
    """
    Apply the facts of *events* to their mails. Idempotent; their order does not matter.

    Whatever happened to a mail, its mailer had accepted it: an unknown outcome is known then, and nobody sends it again.

    Raises:
        BadEvent: the data are no fact about a mail; a retry would not help.

    """
    for event in events:
        _apply(work, _fact(event))


def _apply(work: Work, fact: MailFact) -> None:
    if not repository.report(work, fact):
        return
    attempt = attempts.find(work, fact.mailer, effect_key(fact.business_key, fact.kind))
    if attempt:
        # Also while the call runs: what its process says later does not outweigh that it was done.
        attempts.end(work, attempt, Outcome.DONE, Resolution.WEBHOOK)


def _fact(event: Event) -> MailFact:
    try:
        return _decode(event.data)
    except msgspec.DecodeError as error:
        raise BadEvent(event.id, event.type, str(error)) from error
