"""The alert channel of SendGrid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from crossdock.commerce.mail.addresses import ascii_address
from crossdock.connectors.sendgrid.actions import SEND_MAIL, UNTRACKED
from crossdock.connectors.sendgrid.client import SendGrid
from crossdock.http.config import SafeguardsFactory
from crossdock.http.connection import Connection
from crossdock.maintenance.alerting.mails import Sender, configured_sender, mail_of
from crossdock.maintenance.alerting.model import AlertMessage


class SendGridAlertChannel:
    """
    Send the mails of alerts over one account: one mail to all recipients.

    Raises:
        BadRequest: the sender's address is not valid.

    """

    takes_recipients: ClassVar[bool] = True
    #: By its Message-ID, which does not change.
    knows_repetitions: ClassVar[bool] = True

    def __init__(self, account: SendGrid, sender: Sender) -> None:
        self._account = account
        self._sender = Sender(sender.name, ascii_address(sender.address))

    @classmethod
    def of(cls, integration: str, connection: Connection, share: SafeguardsFactory | None) -> Self:
        """
        Open the channel of *integration*.

        Raises:
            BadRequest: a value of the connection is missing or not valid, or HUB_MAIL_FROM is not.

        """
        return cls(SendGrid.of(connection, share, name=integration), configured_sender())

    def check_recipient(self, recipient: str) -> None:
        """Check one address. Raises BadRequest if mail cannot be sent to it."""
        ascii_address(recipient)

    def send(self, message: AlertMessage, recipients: Sequence[str]) -> None:
        """
        Send the mail of *message* to *recipients*.

        Raises:
            SystemUnavailable: it was not accepted.
            OutcomeUnknown: it may have been accepted: the vendor knows no idempotency keys.
            SystemRefused, Declined: it was refused.
            BadRequest: an address is not valid; nothing was sent.

        """
        self._account.http.send(
            "POST",
            "/v3/mail/send",
            request_body(message, self._sender, recipients),
            SEND_MAIL.output_of,
            decline_of=SEND_MAIL.decline_of,
        )


def request_body(message: AlertMessage, sender: Sender, recipients: Sequence[str]) -> dict[str, Any]:
    """
    Write the request.

    Raises:
        BadRequest: an address is not valid.

    """
    mail = mail_of(message, domain=sender.address.rpartition("@")[2])
    # The vendor refuses an address that comes twice, in whatever case.
    to = {address.lower(): address for address in map(ascii_address, recipients)}
    return {
        "personalizations": [{"to": [{"email": address} for address in to.values()]}],
        "from": {"email": sender.address, **({"name": sender.name} if sender.name else {})},
        "subject": mail.subject,
        "content": [{"type": "text/plain", "value": mail.text}, {"type": "text/html", "value": mail.html}],
        "headers": {"Message-ID": mail.message_id, **mail.headers},
        "categories": ["crossdock_alert"],
        "tracking_settings": UNTRACKED,
    }
