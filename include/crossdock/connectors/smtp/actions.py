"""
The action of a mail server: send a mail.

SMTP knows no keys and reads nothing back. A mail whose acceptance is unknown stays so until a person has looked.
"""

from __future__ import annotations

from datetime import UTC, datetime

from crossdock.commerce.mail.addresses import ascii_address
from crossdock.connectors.smtp.client import Smtp
from crossdock.connectors.smtp.message import message_of
from crossdock.integrations.actions.model import Document
from crossdock.integrations.actions.ports import WriteCall


def send_mail(server: Smtp, given: Document, key: str) -> Document:
    """
    Send a mail; its ID is the Message-ID.

    Raises:
        BadRequest: an address is not one that mail can be sent to; nothing was sent.
        OutcomeUnknown, SystemUnavailable, SystemRefused, Declined, AddressRefused: as `Smtp.send`.

    """
    message = message_of(given, key, sent_at=datetime.now(UTC))
    sender, recipient = (ascii_address(given[side]["address"]) for side in ("from", "to"))
    server.send(message, sender=sender, recipient=recipient)
    return {"id": str(message["Message-ID"])}


SEND_MAIL = WriteCall(call=send_mail, limits_of=lambda server: server.limits)
