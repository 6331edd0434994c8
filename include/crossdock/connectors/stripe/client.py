"""The client of one Stripe account."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

import requests

from crossdock.connectors.stripe.records import IntentList, PaymentIntent, Refund, RefundList, decoded
from crossdock.http.auth import ApiKey
from crossdock.http.client import HttpClient
from crossdock.http.config import ClientConfig, SafeguardsFactory, client_config_of
from crossdock.http.connection import Connection
from crossdock.http.model import Limits
from crossdock.http.response import HttpResponse

KIND = "stripe"
BASE_URL = "https://api.stripe.com"
#: The version of the API that this connector was written for; without it the account's own would apply.
API_VERSION = "2026-10-28.endive"
#: The vendor's limit.
_PAGE_RECORDS = 100

Page = TypeVar("Page", IntentList, RefundList)


class _SecretKey(ApiKey):
    """Sign requests with the secret key, and name the version of the API."""

    def __init__(self, key: str) -> None:
        super().__init__(key, header="Authorization", prefix="Bearer")

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Stripe-Version"] = API_VERSION
        return super().__call__(request)


class Stripe:
    """
    One account.

    Args:
        secret_key: A secret or restricted key.
        base_url: Where the API is.
        name: The integration's ID, for errors and metrics.
        config: As for `HttpClient`, like *limits*.

    """

    def __init__(
        self,
        secret_key: str,
        *,
        base_url: str = BASE_URL,
        name: str = KIND,
        config: ClientConfig | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.name = name
        self._client = HttpClient(name, base_url, auth=_SecretKey(secret_key), config=config, limits=limits)

    @classmethod
    def of(
        cls,
        connection: Connection,
        share: SafeguardsFactory | None = None,
        *,
        name: str = KIND,
        limits: Limits | None = None,
    ) -> Stripe:
        """
        Connect to the account of an Airflow connection: its password is the secret key.

        Raises:
            BadRequest: the key is missing, or a value is not valid; the message says which.

        """
        connection.require(password=connection.password)
        return cls(
            str(connection.password),
            base_url=connection.url or BASE_URL,
            name=name,
            config=client_config_of(connection, share),
            limits=limits,
        )

    @property
    def http(self) -> HttpClient:
        """The HTTP client, for actions."""
        return self._client

    def intents(self, created_since_s: int) -> Iterator[PaymentIntent]:
        """
        Read the payment intents that were created at or after an instant (seconds since 1970), newest first.

        The vendor's lists are up to date at once; its search is not.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        query: dict[str, str | int] = {"created[gte]": created_since_s, "expand[]": "data.latest_charge"}
        for page in self._pages("/v1/payment_intents", query, IntentList):
            yield from page.data

    def refunds(self, intent_id: str) -> Iterator[Refund]:
        """Read the refunds of a payment intent, newest first. Raises as `intents`."""
        for page in self._pages("/v1/refunds", {"payment_intent": intent_id}, RefundList):
            yield from page.data

    def _pages(self, path: str, query: Mapping[str, str | int], kind: type[Page]) -> Iterator[Page]:
        seen: set[str] = set()
        after: str | None = None

        def page_of(response: HttpResponse) -> Page:
            page = decoded(response, kind)
            if page.has_more and (not page.data or page.data[-1].id in seen):
                # The list would never end.
                raise response.invalid("says that it goes on, but does not")
            return page

        while True:
            page = self._client.get(path, {**query, "limit": _PAGE_RECORDS, "starting_after": after}, page_of)
            yield page
            if not page.has_more:
                return
            seen.update(record.id for record in page.data)
            after = page.data[-1].id


def client_of(integration: str, connection: Connection, share: SafeguardsFactory | None) -> Stripe:
    """
    Create the client of *integration*.

    Raises:
        BadRequest: as `Stripe.of`.

    """
    return Stripe.of(connection, share, name=integration)
