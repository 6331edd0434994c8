"""The terms of mails: what is sent to whom, and what became of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec


class MailState(StrEnum):
    #: Written, and no mailer was asked yet.
    OPEN = "open"
    #: A process is asking a mailer. If that takes too long, nobody knows what came of it.
    SENDING = "sending"
    #: A mailer has accepted it. It is never sent again.
    SENT = "sent"
    #: A mailer refused it: this recipient, or our account. Also one that no mailer accepted for so long that it was forgotten.
    REFUSED = "refused"
    #: No mailer has accepted it. It may be sent again.
    FAILED = "failed"
    #: A mailer may have accepted it: no other is asked before that is known.
    UNKNOWN = "unknown"


class Mailbox(msgspec.Struct, frozen=True, omit_defaults=True):
    address: str
    name: str | None = None


class Content(msgspec.Struct, frozen=True):
    """A mail without its addresses."""

    subject: str
    text: str
    html: str | None = None


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """One mail. There is at most one of its kind for a business key, ever."""

    #: What it is about: an order's ID.
    business_key: str
    kind: str
    sender: Mailbox
    to: Mailbox
    content: Content

    def as_input(self) -> Mapping[str, Any]:
        """Write the input of `send_mail`."""
        content = {name: value for name, value in msgspec.to_builtins(self.content).items() if value is not None}
        return {
            "reference": effect_key(self.business_key, self.kind)[:40],
            "business_key": self.business_key,
            "kind": self.kind,
            "from": msgspec.to_builtins(self.sender),
            "to": msgspec.to_builtins(self.to),
            **content,
        }


def effect_key(business_key: str, kind: str) -> str:
    """Derive the key of the attempt, of 64 characters: the same at each try and at each mailer."""
    return hashlib.sha256(f"mail\n{kind}\n{business_key}".encode()).hexdigest()


class MailRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub knows of one mail."""

    mail_id: int
    business_key: str
    kind: str
    state: MailState
    #: None once it was forgotten (retention).
    recipient: str | None
    #: The integration that was asked last.
    mailer: str | None
    #: The mailer's own ID of the mail.
    provider_id: str | None
    #: Why it is not sent, or what its mailer says became of it that should not.
    reason: str | None
    created_at: datetime
    changed_at: datetime


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The right of one process to ask mailers for a mail, until another takes it over."""

    mail_id: int
    number: int
    #: What is sent: the input of `send_mail`, as it was first written.
    message: dict[str, Any]
    #: Ask this one first: it was asked before, and may have accepted the mail. None if none may have.
    first: str | None
    #: Ask no other than `first`: the process before may still be about to.
    pinned: bool
