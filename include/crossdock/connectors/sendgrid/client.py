"""The client of one SendGrid account, or subuser."""

from __future__ import annotations

import msgspec

from crossdock.core.errors import SourceInvalid
from crossdock.http.auth import ApiKey
from crossdock.http.client import HttpClient
from crossdock.http.config import ClientConfig, SafeguardsFactory, client_config_of
from crossdock.http.connection import Connection
from crossdock.http.model import Limits
from crossdock.http.response import HttpResponse

KIND = "sendgrid"


class _Scopes(msgspec.Struct, frozen=True):
    scopes: list[str]


# Made once, here: the API server's threads run actions (core/decoding.py).
_decode_scopes = msgspec.json.Decoder(_Scopes).decode


class SendGrid:
    """
    One account.

    Args:
        base_url: `https://api.sendgrid.com`, or `https://api.eu.sendgrid.com` for an account in the EU.
        api_key: With the permission Mail Send.
        name: The integration's ID, for errors and metrics.
        config: As for `HttpClient`, like *limits*.

    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        name: str = KIND,
        config: ClientConfig | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.name = name
        auth = ApiKey(api_key, header="Authorization", prefix="Bearer")
        self.http = HttpClient(name, base_url, auth=auth, config=config, limits=limits)

    @classmethod
    def of(
        cls,
        connection: Connection,
        share: SafeguardsFactory | None = None,
        *,
        name: str = KIND,
        limits: Limits | None = None,
    ) -> SendGrid:
        """
        Connect to the account of an Airflow connection: the host is the API's URL, the password is the API key.

        Raises:
            BadRequest: a value is missing or not valid; the message says which.

        """
        password = connection.password or ""
        connection.require(host=connection.url, password=password)
        config = client_config_of(connection, share)
        return cls(connection.url, password, name=name, config=config, limits=limits)

    def scopes(self) -> list[str]:
        """
        Read what the API key may do.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        return self.http.get("/v3/scopes", {}, _scopes_of)


def client_of(integration: str, connection: Connection, share: SafeguardsFactory | None) -> SendGrid:
    """
    Create the client of *integration*.

    Raises:
        BadRequest: as `SendGrid.of`.

    """
    return SendGrid.of(connection, share, name=integration)


def _scopes_of(response: HttpResponse) -> list[str]:
    try:
        return _decode_scopes(response.body).scopes
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        invalid: SourceInvalid = response.invalid(f"is not what the vendor documents: {error}")
        raise invalid from error
