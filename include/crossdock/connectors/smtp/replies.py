"""
What a mail server's replies mean for the mail.

| stage | reply | outcome |
| --- | --- | --- |
| any, before the end of the message | 4xx, or none | failed: not accepted, try again later or elsewhere |
| login | 5xx | refused: our account; another mailer may be asked |
| sender | 5xx | refused: our sender is not theirs; another mailer may be asked |
| recipient | 5xx about the mailbox (5.1.x, 5.2.x; 550, 551, 553) | declined: this recipient, at every mailer |
| recipient | any other 5xx (5.7.x: relaying denied) | refused: another mailer may be asked |
| after the end of the message | 4xx | failed: the server says that it did not take it |
| after the end of the message | 5xx | declined: this content; another mailer may see it otherwise |
| after the end of the message | none, or no reply of SMTP | unknown |
"""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec

from crossdock.core.errors import Declined, HubError, SystemRefused, SystemUnavailable
from crossdock.core.printable import printable

#: RFC 3463: class, subject and detail, at the start of the text.
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?: |$)")
#: Refusals of a mailbox, where the server gives no enhanced code.
_OF_A_MAILBOX = frozenset({550, 551, 553})
_LONGEST_TEXT = 300
_REFUSED = 500
_PROTOCOL = "SMTP"


class Stage(StrEnum):
    """What a reply answers."""

    GREETING = "the connection"
    HELLO = "EHLO"
    TLS = "STARTTLS"
    LOGIN = "the login"
    SENDER = "the sender"
    RECIPIENT = "the recipient"
    #: The command that begins the message.
    DATA = "DATA"
    #: The dot at the end of the message.
    MESSAGE = "the message"


class Reply(msgspec.Struct, frozen=True):
    """One reply, of one line or more."""

    code: int
    text: str

    @property
    def enhanced_code(self) -> str | None:
        found = _ENHANCED.match(self.text)
        return found[1] if found else None


def error_of(system: str, stage: Stage, reply: Reply, *, secrets: tuple[str, ...] = ()) -> HubError:
    """Build the error for a *reply* that does not let the mail go on."""
    text = _shown(reply.text, secrets)
    if reply.code < _REFUSED:
        return SystemUnavailable(
            system, f"the server answered {stage} with SMTP {reply.code}: {text}", status=reply.code
        )
    code = reply.enhanced_code
    message = f"{stage}: {text}"
    if stage is Stage.MESSAGE:
        return Declined(system, reply.code, message, code=code, try_other=True, protocol=_PROTOCOL)
    if stage is Stage.RECIPIENT and _is_about_the_mailbox(reply):
        return Declined(system, reply.code, message, code=code, protocol=_PROTOCOL)
    return SystemRefused(system, reply.code, message, protocol=_PROTOCOL, try_other=True)


def _is_about_the_mailbox(reply: Reply) -> bool:
    if code := reply.enhanced_code:
        return code.startswith(("5.1.", "5.2."))
    return reply.code in _OF_A_MAILBOX


def _shown(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, "[hidden]") if secret else text
    return printable(text)[:_LONGEST_TEXT] or "no text"
