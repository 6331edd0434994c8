"""The alert channel of a mail server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import ClassVar, Self

from crossdock.commerce.mail.addresses import ascii_address
from crossdock.connectors.smtp.client import Smtp
from crossdock.core.errors import SystemRefused
from crossdock.http.config import SafeguardsFactory
from crossdock.http.connection import Connection
from crossdock.maintenance.alerting.mails import Sender, configured_sender, mail_of
from crossdock.maintenance.alerting.model import AlertMessage


class SmtpAlertChannel:
    """
    Send the mails of alerts over one mail server: one mail to all recipients.

    Raises:
        BadRequest: the sender's address is not valid.

    """

    takes_recipients: ClassVar[bool] = True
    #: By its Message-ID, which does not change.
    knows_repetitions: ClassVar[bool] = True

    def __init__(self, server: Smtp, sender: Sender) -> None:
        self._server = server
        self._sender = Sender(sender.name, ascii_address(sender.address))

    @classmethod
    def of(cls, integration: str, connection: Connection, share: SafeguardsFactory | None) -> Self:
        """
        Open the channel of *integration*.

        Raises:
            BadRequest: a value of the connection is missing or not valid, or HUB_MAIL_FROM is not.

        """
        return cls(Smtp.of(connection, share, name=integration), configured_sender())

    def check_recipient(self, recipient: str) -> None:
        """Check one address. Raises BadRequest if mail cannot be sent to it."""
        ascii_address(recipient)

    def send(self, message: AlertMessage, recipients: Sequence[str]) -> None:
        """
        Send the mail of *message* to *recipients*.

        A mail that one of them got is not sent again for another one's sake: the first would get it each time.

        Raises:
            SystemUnavailable: the server did not accept it, for any of them.
            OutcomeUnknown: it may have accepted it.
            SystemRefused, Declined: it refuses it, for any of them or for some.
            BadRequest: an address is not valid; nothing was sent.

        """
        to = [ascii_address(recipient) for recipient in dict.fromkeys(recipients)]
        accepted = self._server.send_to(_written(message, self._sender, to), sender=self._sender.address, recipients=to)
        if accepted.refused:
            raise SystemRefused(
                self._server.name,
                accepted.reply.code,
                f"{len(accepted.refused)} of {len(to)} recipients do not get the mail, the others do: {accepted.refused[0]}",
                protocol="SMTP",
            )


def _written(message: AlertMessage, sender: Sender, to: Sequence[str]) -> EmailMessage:
    mail = mail_of(message, domain=sender.address.rpartition("@")[2])
    written = EmailMessage(policy=SMTP)
    written["Message-ID"] = mail.message_id
    written["Date"] = message.at.astimezone(UTC)
    written["From"] = Address(display_name=sender.name, addr_spec=sender.address)
    written["To"] = [Address(addr_spec=address) for address in to]
    written["Subject"] = mail.subject
    for name, value in mail.headers.items():
        written[name] = value
    written.set_content(mail.text)
    written.add_alternative(mail.html, subtype="html")
    return written
