"""The client of one merchant account at Adyen: gives actions their paths, and lists payment methods for the connection test."""

from __future__ import annotations

import msgspec
from requests.auth import AuthBase

from crossdock.http.auth import ApiKey
from crossdock.http.client import HttpClient
from crossdock.http.config import ClientConfig, SafeguardsFactory, client_config_of
from crossdock.http.connection import Connection
from crossdock.http.model import Limits
from crossdock.http.response import HttpResponse

KIND = "adyen"
_VERSION = "v71"


class _Methods(msgspec.Struct, frozen=True, rename="camel"):
    payment_methods: list[msgspec.Raw] = []


_decode_methods = msgspec.json.Decoder(_Methods).decode


class Adyen:
    """
    One merchant account at Adyen.

    Args:
        base_url: The URL of the Checkout API without the version: `https://checkout-test.adyen.com`. A live one has a
            prefix of the merchant and ends in `/checkout`.
        merchant_account: What all requests are for.
        name: The integration's ID, for errors and metrics.
        auth: Signs the requests.
        config: As for `HttpClient`, like *limits*.
        return_url: Where customers come back to where a payment does not say.

    """

    def __init__(
        self,
        base_url: str,
        merchant_account: str,
        *,
        name: str = KIND,
        auth: AuthBase | None = None,
        config: ClientConfig | None = None,
        limits: Limits | None = None,
        return_url: str = "",
    ) -> None:
        self._client = HttpClient(name, base_url, auth=auth, config=config, limits=limits)
        self.merchant_account = merchant_account
        self.return_url = return_url

    @classmethod
    def of(
        cls,
        connection: Connection,
        share: SafeguardsFactory | None = None,
        *,
        name: str = KIND,
        limits: Limits | None = None,
    ) -> Adyen:
        """
        Connect to the merchant account of an Airflow connection.

        The host is the API's URL and the password the API key. The extra has `merchant_account`, optionally `return_url`,
        and what every connection may have (`client_config_of`).

        Raises:
            BadRequest: a value is missing or not valid; the message says which.

        """
        merchant_account, key = connection.text("merchant_account"), connection.password or ""
        connection.require(host=connection.url, password=key, extra__merchant_account=merchant_account)
        return cls(
            connection.url,
            merchant_account,
            name=name,
            auth=ApiKey(key, header="x-API-key"),
            config=client_config_of(connection, share),
            limits=limits,
            return_url=connection.text("return_url"),
        )

    @property
    def http(self) -> HttpClient:
        """The HTTP client, for actions."""
        return self._client

    @staticmethod
    def path(resource: str) -> str:
        """Put *resource* below the API's version."""
        return f"/{_VERSION}/{resource}"

    def count_payment_methods(self) -> int:
        """
        Count the payment methods of the merchant account; the one request that changes nothing.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        return self._client.post_json(
            self.path("paymentMethods"), {"merchantAccount": self.merchant_account}, _count_methods
        )


def _count_methods(response: HttpResponse) -> int:
    return len(response.decoded(_decode_methods).payment_methods)


def client_of(integration: str, connection: Connection, share: SafeguardsFactory | None) -> Adyen:
    """
    Create the client of *integration*.

    Raises:
        BadRequest: as `Adyen.of`.

    """
    return Adyen.of(connection, share, name=integration)
