"""The alert channel of a signed webhook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from crossdock.connectors.signed_webhook.client import SignedWebhook
from crossdock.connectors.signed_webhook.document import document_of
from crossdock.core.errors import BadRequest
from crossdock.http.config import SafeguardsFactory
from crossdock.http.connection import Connection
from crossdock.maintenance.alerting.model import AlertMessage


class SignedWebhookAlertChannel:
    """Post the messages of alerts to one receiver."""

    takes_recipients: ClassVar[bool] = False
    #: By `webhook-id`, as the standard asks of a receiver.
    knows_repetitions: ClassVar[bool] = True

    def __init__(self, webhook: SignedWebhook) -> None:
        self._webhook = webhook

    @classmethod
    def of(cls, integration: str, connection: Connection, share: SafeguardsFactory | None) -> Self:
        """Open the channel of *integration*. Raises BadRequest as `SignedWebhook.of`."""
        return cls(SignedWebhook.of(connection, share, name=integration))

    def check_recipient(self, recipient: str) -> None:  # noqa: ARG002  none is right
        """Refuse every recipient."""
        raise BadRequest("A webhook has one receiver, its URL: give the route no recipients")

    def send(self, message: AlertMessage, recipients: Sequence[str]) -> None:  # noqa: ARG002  it has none
        """Post *message*. Raises as `SignedWebhook.post`."""
        self._webhook.post(document_of(message), message.message_id)
