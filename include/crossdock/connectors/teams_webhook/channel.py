"""The alert channel of Microsoft Teams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from crossdock.connectors.teams_webhook.card import payload_of
from crossdock.connectors.teams_webhook.client import TeamsWebhook
from crossdock.core.errors import BadRequest
from crossdock.http.config import SafeguardsFactory
from crossdock.http.connection import Connection
from crossdock.maintenance.alerting.model import AlertMessage


class TeamsAlertChannel:
    """Post the messages of alerts over one webhook."""

    takes_recipients: ClassVar[bool] = False
    #: A flow takes no ID and no thread: what is posted twice is there twice.
    knows_repetitions: ClassVar[bool] = False

    def __init__(self, webhook: TeamsWebhook) -> None:
        self._webhook = webhook

    @classmethod
    def of(cls, integration: str, connection: Connection, share: SafeguardsFactory | None) -> Self:
        """Open the channel of *integration*. Raises BadRequest as `TeamsWebhook.of`."""
        return cls(TeamsWebhook.of(connection, share, name=integration))

    def check_recipient(self, recipient: str) -> None:  # noqa: ARG002  none is right
        """Refuse every recipient."""
        raise BadRequest("A webhook of Teams posts to one channel or chat: give the route no recipients")

    def send(self, message: AlertMessage, recipients: Sequence[str]) -> None:  # noqa: ARG002  it has none
        """Post *message*. Raises as `TeamsWebhook.post`."""
        self._webhook.post(payload_of(message))
