"""The client of one webhook of Microsoft Teams' Workflows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossdock.http.auth import SecretUrl
from crossdock.http.client import HttpClient
from crossdock.http.config import ClientConfig, SafeguardsFactory, client_config_of
from crossdock.http.connection import Connection
from crossdock.http.model import CallPolicy, Limits, Rate
from crossdock.http.response import HttpResponse

KIND = "teams_webhook"
#: Teams takes four messages a second. A person waits for the message: few and short attempts.
_POLICY = CallPolicy(limits=Limits(timeout_s=10.0, attempts=3), rate=Rate(calls=4))


class TeamsWebhook:
    """
    One webhook, which is one flow that posts to a channel or a chat.

    Args:
        url: With the secret in its query.
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
    ) -> TeamsWebhook:
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
        Hand a message to the flow, which posts it a little later.

        Raises:
            SystemUnavailable: it was not accepted.
            OutcomeUnknown: it may have been accepted: a flow knows no idempotency keys.
            SystemRefused: it was refused.

        """
        self._http.send("POST", SecretUrl.PATH, payload, _check_accepted, json_answer=False)


def _check_accepted(response: HttpResponse) -> None:
    """Refuse a page: a proxy's login comes with HTTP 200. A flow answers 202 with nothing, or what its author wrote."""
    if response.headers.get("Content-Type", "").strip().lower().startswith("text/html"):
        raise response.invalid("is a page")
