"""The client of one incoming webhook of Slack."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from crossdock.core.errors import Declined
from crossdock.http.auth import SecretUrl
from crossdock.http.client import HttpClient
from crossdock.http.config import ClientConfig, SafeguardsFactory, client_config_of
from crossdock.http.connection import Connection
from crossdock.http.model import CallPolicy, Limits, Rate
from crossdock.http.response import HttpResponse

KIND = "slack_webhook"
#: Slack takes one message a second from a webhook. A person waits for the message: few and short attempts.
_POLICY = CallPolicy(limits=Limits(timeout_s=10.0, attempts=3), rate=Rate(calls=1))
_ACCEPTED = b"ok"
#: What Slack answers instead of JSON: `channel_is_archived`.
_CODE = re.compile(rb"[a-z_]{1,60}")
_CLIENT_ERRORS = range(400, 500)
#: The refusals that are not for ever.
_TRANSIENT = frozenset({408, 425, 429})


class SlackWebhook:
    """
    One webhook, which is one channel of one workspace.

    Args:
        url: With the secret in its path.
        name: The integration's ID, for errors and metrics.
        config: As for `HttpClient`, like *limits*.

    Raises:
        BadRequest: the URL is not valid.

    """

    def __init__(
        self, url: str, *, name: str = KIND, config: ClientConfig | None = None, limits: Limits | None = None
    ) -> None:
        self.name = name
        auth = SecretUrl(url)
        self.origin = auth.origin
        self._http = HttpClient(name, auth.origin, auth=auth, config=config, limits=limits)

    @classmethod
    def of(
        cls,
        connection: Connection,
        share: SafeguardsFactory | None = None,
        *,
        name: str = KIND,
        limits: Limits | None = None,
    ) -> SlackWebhook:
        """
        Connect to the webhook of an Airflow connection: the password is its URL.

        Raises:
            BadRequest: a value is missing or not valid; the message says which.

        """
        connection.require(password=connection.password)
        config = client_config_of(connection, share, declared=_POLICY)
        return cls(str(connection.password), name=name, config=config, limits=limits)

    def post(self, payload: Mapping[str, Any]) -> None:
        """
        Post a message.

        Raises:
            SystemUnavailable: it was not accepted.
            OutcomeUnknown: it may have been accepted: Slack knows no idempotency keys.
            SystemRefused, Declined: it was refused; the message has Slack's own word for the reason.

        """
        self._http.send("POST", SecretUrl.PATH, payload, _check_accepted, decline_of=_decline, json_answer=False)


def _check_accepted(response: HttpResponse) -> None:
    """Refuse a success that is not Slack's: a proxy's login page comes with HTTP 200."""
    if response.body.strip() != _ACCEPTED:
        raise response.invalid("does not say ok")


def _decline(response: HttpResponse) -> Declined | None:
    if response.status not in _CLIENT_ERRORS or response.status in _TRANSIENT:
        return None
    code = _CODE.fullmatch(response.body.strip())
    if code is None:
        return None
    reason = code[0].decode()
    return Declined(response.system, response.status, reason, code=reason)
