"""The connection test of a signed webhook. It posts nothing."""

from __future__ import annotations

from crossdock.connectors.signed_webhook.client import SignedWebhook
from crossdock.http.connection import Connection
from crossdock.integrations.connection_test import Skipped


class SignedWebhookConnectionTest:
    """
    Test one receiver: address, TLS, and the form of the secret.

    Raises:
        BadRequest: the connection has no URL or no secret, or one that is not valid.

    """

    def __init__(self, connection: Connection) -> None:
        self.url = SignedWebhook.of(connection).url

    def credentials(self) -> str:
        raise Skipped("the receiver shows only with a message whether it has the same secret: test the route")

    def scope(self) -> str:
        raise Skipped("a receiver takes everything: test the route")

    def sample(self) -> str:
        raise Skipped("a webhook has nothing to read: test the route")
