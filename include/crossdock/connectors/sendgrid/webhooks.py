"""
SendGrid's event webhook: a list of events, each of which says what became of one mail.

A mail's custom arguments are fields of its events: which mail of the hub it is. Mails that others send over the account have
none, and what is said of them is counted as ignored, and not kept. The address, and a reason that may have it, are not read.
An event's `sg_message_id` begins with the ID that the answer of the mail's acceptance has.
Source: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from crossdock.commerce.mail.events import MAIL_REPORTED, MailFact, MailFactKind
from crossdock.core.decoding import prepare
from crossdock.core.errors import BadRequest
from crossdock.events.model import NewEvent
from crossdock.events.webhooks_in.checks import text_at
from crossdock.events.webhooks_in.ports import Delivery, IsEvent, Webhook

_KINDS = {
    "processed": MailFactKind.ACCEPTED,
    "deferred": MailFactKind.DEFERRED,
    "delivered": MailFactKind.DELIVERED,
    "bounce": MailFactKind.BOUNCED,
    "dropped": MailFactKind.DROPPED,
    "spamreport": MailFactKind.REPORTED_AS_SPAM,
}
_TYPE = "mail"
#: The longest business key of a mail (`mailer.json`).
_LONGEST = 180


class MailEvent(msgspec.Struct, frozen=True):
    """One event of a mail that the hub has sent."""

    event: str
    #: Seconds; the calendar ends with the year 9999.
    timestamp: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]
    sg_event_id: str
    business_key: str
    kind: str
    sg_message_id: str | None = None
    #: Of a bounce: the code of RFC 3463.
    status: Annotated[str, msgspec.Meta(pattern=r"^[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\Z")] | msgspec.UnsetType = (
        msgspec.UNSET
    )


prepare(MailEvent)


def _events(delivery: Delivery) -> Sequence[NewEvent]:
    return [_event(delivery.integration, found) for found in _ours(delivery.document)]


def _ignored_types(delivery: Delivery) -> Sequence[str]:
    """Name what is said of other mails, and of readers."""
    others = [said for said in delivery.document if not (isinstance(said, dict) and _is_of_ours(said))]
    return [text_at(said, "event") for said in others]


def _ours(document: Any) -> Iterator[MailEvent]:
    """
    Read the events of the hub's own mails.

    Raises:
        BadRequest: the body is no list of events, or one of ours lacks what each has.

    """
    if not isinstance(document, list):
        raise BadRequest("The body is not a list of SendGrid's events")
    for said in document:
        if isinstance(said, dict) and _is_of_ours(said):
            try:
                yield msgspec.convert(said, MailEvent)
            except msgspec.ValidationError as error:
                raise BadRequest(f"The body has no event of SendGrid: {error}") from error


def _is_of_ours(said: dict[str, Any]) -> bool:
    return said.get("event") in list(_KINDS) and all(_is_like_ours(said.get(name)) for name in ("business_key", "kind"))


def _is_like_ours(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= _LONGEST and name.isprintable()


def _event(mailer: str, said: MailEvent) -> NewEvent:
    occurred_at = datetime.fromtimestamp(said.timestamp, UTC)
    fact = MailFact(
        mailer=mailer,
        business_key=said.business_key,
        kind=said.kind,
        happened=_KINDS[said.event],
        occurred_at=occurred_at,
        provider_id=said.sg_message_id.partition(".")[0] if said.sg_message_id else None,
        code=said.status or None,
    )
    return MAIL_REPORTED.event(
        fact,
        source=f"/integrations/{mailer}",
        subject=f"mail/{said.kind}/{said.business_key}",
        time=occurred_at,
        event_id=said.sg_event_id,
    )


WEBHOOK = Webhook(
    types_of=lambda _: (_TYPE,),
    meanings={_TYPE: IsEvent((MAIL_REPORTED.name,), _events)},
    ignored_types=_ignored_types,
)
