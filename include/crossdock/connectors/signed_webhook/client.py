"""The client of one receiver of signed webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossdock.connectors.signed_webhook.signature import ID_HEADER, StandardSignature
from crossdock.http.client import HttpClient
from crossdock.http.config import ClientConfig, SafeguardsFactory, client_config_of
from crossdock.http.connection import Connection
from crossdock.http.model import CallPolicy, KeyRules, Limits

KIND = "signed_webhook"
#: A person waits for the message: few and short attempts.
_POLICY = CallPolicy(limits=Limits(timeout_s=10.0, attempts=3))
#: A receiver knows a message that it gets again by its ID. The standard has no status for one that is at work: 409 is a refusal.
_KEYS = KeyRules(window_s=300.0, header=ID_HEADER, in_use_status=0)


class SignedWebhook:
    """
    One receiver.

    Args:
        url: Without a secret in it.
        secret: `whsec_…`, which the receiver has, too.
        name: The integration's ID, for errors and metrics.
        config: As for `HttpClient`, like *limits*.

    Raises:
        BadRequest: the URL or the secret is not valid.

    """

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        name: str = KIND,
        config: ClientConfig | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.name, self.url = name, url
        self._http = HttpClient(name, url, auth=StandardSignature(secret), config=config, limits=limits)

    @classmethod
    def of(
        cls,
        connection: Connection,
        share: SafeguardsFactory | None = None,
        *,
        name: str = KIND,
        limits: Limits | None = None,
    ) -> SignedWebhook:
        """
        Connect to the receiver of an Airflow connection: the host is its URL, the password is the signing secret.

        Raises:
            BadRequest: a value is missing or not valid; the message says which.

        """
        connection.require(host=connection.url, password=connection.password)
        config = client_config_of(connection, share, declared=_POLICY)
        return cls(connection.url, str(connection.password), name=name, config=config, limits=limits)

    def post(self, document: Mapping[str, Any], message_id: str) -> None:
        """
        Post *document* under *message_id*; any 2xx is a success. Within this call it may be sent again, with the same ID.

        Raises:
            SystemUnavailable: it was not accepted.
            OutcomeUnknown: it may have been accepted, and further attempts did not show it.
            SystemRefused: it was refused.

        """
        self._http.send(
            "POST",
            "",
            document,
            lambda _response: None,
            idempotency_key=message_id,
            key_rules=_KEYS,
            json_answer=False,
        )
