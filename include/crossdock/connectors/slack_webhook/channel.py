"""The alert channel of Slack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from crossdock.connectors.slack_webhook.blocks import payload_of
from crossdock.connectors.slack_webhook.client import SlackWebhook
from crossdock.core.errors import BadRequest
from crossdock.http.config import SafeguardsFactory
from crossdock.http.connection import Connection
from crossdock.maintenance.alerting.model import AlertMessage


class SlackAlertChannel:
    """Post the messages of alerts over one webhook."""

    takes_recipients: ClassVar[bool] = False
    #: A webhook takes no ID and no thread: what is posted twice is there twice.
    knows_repetitions: ClassVar[bool] = False

    def __init__(self, webhook: SlackWebhook) -> None:
        self._webhook = webhook

    @classmethod
    def of(cls, integration: str, connection: Connection, share: SafeguardsFactory | None) -> Self:
        """Open the channel of *integration*. Raises BadRequest as `SlackWebhook.of`."""
        return cls(SlackWebhook.of(connection, share, name=integration))

    def check_recipient(self, recipient: str) -> None:  # noqa: ARG002  none is right
        """Refuse every recipient."""
        raise BadRequest("A Slack webhook posts to one channel: give the route no recipients")

    def send(self, message: AlertMessage, recipients: Sequence[str]) -> None:  # noqa: ARG002  it has none
        """Post *message*. Raises as `SlackWebhook.post`."""
        self._webhook.post(payload_of(message))
