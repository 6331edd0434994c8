"""The connection test of a webhook of Teams. It posts no message."""

from __future__ import annotations

from crossdock.connectors.teams_webhook.client import TeamsWebhook
from crossdock.http.connection import Connection
from crossdock.integrations.connection_test import Skipped


class TeamsConnectionTest:
    """
    Test one webhook: address and TLS. Any request starts its flow, so nothing is sent.

    Raises:
        BadRequest: the connection has no webhook URL, or one that is not valid.

    """

    def __init__(self, connection: Connection) -> None:
        self.url = TeamsWebhook.of(connection).origin

    def credentials(self) -> str:
        raise Skipped("any request starts the flow: test the route")

    def scope(self) -> str:
        raise Skipped("a flow posts to one channel or chat, which shows only with a message: test the route")

    def sample(self) -> str:
        raise Skipped("a webhook has nothing to read: test the route")
