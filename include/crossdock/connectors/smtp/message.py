"""Write a mail as a message of RFC 5322."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from crossdock.commerce.mail.addresses import ascii_address
from crossdock.integrations.actions.model import Document


def message_of(given: Document, key: str, *, sent_at: datetime) -> EmailMessage:
    """
    Build the message of a valid input of `send_mail`.

    The Message-ID follows from *key* alone: a mail that arrived twice would be recognised as one.

    Raises:
        BadRequest: an address is not one that mail can be sent to.

    """
    message = EmailMessage(policy=SMTP)
    message["Message-ID"] = message_id_of(given, key)
    message["Date"] = sent_at.astimezone(UTC)
    message["From"] = _mailbox(given["from"])
    message["To"] = _mailbox(given["to"])
    message["Subject"] = given["subject"]
    # RFC 3834: no out-of-office replies, please.
    message["Auto-Submitted"] = "auto-generated"
    message["X-Reference"] = given["reference"]
    message.set_content(given["text"])
    if "html" in given:
        message.add_alternative(given["html"], subtype="html")
    return message


def message_id_of(given: Document, key: str) -> str:
    """Derive the Message-ID from *key*, at the sender's domain."""
    domain = ascii_address(given["from"]["address"]).rpartition("@")[2]
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:40]}@{domain}>"


def _mailbox(given: Document) -> Address:
    return Address(display_name=given.get("name", ""), addr_spec=ascii_address(given["address"]))
