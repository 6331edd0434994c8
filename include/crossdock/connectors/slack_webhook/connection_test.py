"""The connection test of a Slack webhook. It posts no message."""

from __future__ import annotations

from crossdock.connectors.slack_webhook.client import SlackWebhook
from crossdock.core.errors import Declined, SystemUnavailable
from crossdock.http.connection import Connection
from crossdock.http.model import Limits
from crossdock.integrations.connection_test import Skipped

#: A person is waiting: one attempt with short timeouts.
_QUICK = Limits(timeout_s=8.0, connect_timeout_s=4.0, attempts=1)
#: How Slack refuses a message without a text once it knows the webhook.
_OF_THE_MESSAGE = frozenset({"no_text", "invalid_payload", "missing_text_or_fallback_or_attachments"})


class SlackConnectionTest:
    """
    Test one webhook.

    Raises:
        BadRequest: the connection has no webhook URL, or one that is not valid.

    """

    def __init__(self, connection: Connection) -> None:
        self._webhook = SlackWebhook.of(connection, limits=_QUICK)
        self.url = self._webhook.origin

    def credentials(self) -> str:
        """Post a message without a text, which Slack refuses only after it has looked the webhook up."""
        try:
            self._webhook.post({})
        except Declined as error:
            if error.code in _OF_THE_MESSAGE:
                return "Slack knows the webhook"
            raise
        raise SystemUnavailable(self._webhook.name, "it took a message without a text, which Slack does not")

    def scope(self) -> str:
        raise Skipped("a webhook posts to one channel, which shows only with a message: test the route")

    def sample(self) -> str:
        raise Skipped("a webhook has nothing to read: test the route")
