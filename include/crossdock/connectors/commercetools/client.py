"""The client of one commercetools project: reads resources page by page, and gives actions their paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from requests.auth import AuthBase

from crossdock.connectors.commercetools import graphql
from crossdock.connectors.commercetools.pages import description_of, page_of
from crossdock.connectors.commercetools.predicates import quoted, sort, where
from crossdock.core.errors import BadRequest, SystemRefused
from crossdock.core.instants import utc_text
from crossdock.http.client import HttpClient
from crossdock.http.config import ClientConfig, Fallback, SafeguardsFactory, client_config_of
from crossdock.http.connection import Connection
from crossdock.http.model import Limits
from crossdock.http.oauth import ClientCredentials
from crossdock.http.response import HttpResponse
from crossdock.sync.source import Cursor, FetchedPage, Range, SourceDescription

T = TypeVar("T")

KIND = "commercetools"
#: The vendor's limit; larger pages are refused with HTTP 400.
PAGE_RECORDS = 500


class Api(StrEnum):
    """The vendor's two APIs; both give the same pages."""

    REST = "rest"
    GRAPHQL = "graphql"


class Commercetools:
    """
    One commercetools project.

    Args:
        base_url: The regional API URL, without the project: `https://api.europe-west1.gcp.commercetools.com`.
        project: The project key.
        name: The integration's ID, for errors and metrics.
        auth: Signs the requests; None if the server requires no authentication.
        config: As for `HttpClient`, like *limits* and *ca_file*.
        api: REST by default.
        fallback_url: Read instead of *base_url* while its circuit breaker is open, with the same credentials: another
            region, or a cache. REST only.

    """

    def __init__(
        self,
        base_url: str,
        project: str,
        *,
        name: str = KIND,
        auth: AuthBase | None = None,
        config: ClientConfig | None = None,
        limits: Limits | None = None,
        ca_file: str | None = None,
        page_records: int = PAGE_RECORDS,
        api: Api = Api.REST,
        fallback_url: str | None = None,
    ) -> None:
        self.name = name
        options: dict[str, Any] = {"auth": auth, "limits": limits, "ca_file": ca_file}
        config = config or ClientConfig()
        fallback = _fallback_host(self.name, fallback_url, config, options) if fallback_url else None
        self._client = HttpClient(self.name, base_url, config=config, fallback=fallback, **options)
        self._project = quote(project, safe="")
        self._page_records = page_records
        self._call = self._call_graphql if api is Api.GRAPHQL else self._call_rest

    @classmethod
    def signed_in(
        cls,
        base_url: str,
        project: str,
        *,
        name: str = KIND,
        client_id: str,
        secret: str,
        scope: str,
        auth_url: str | None = None,
        token_path: str = "/oauth/token",  # noqa: S107  a path, not a password
        config: ClientConfig | None = None,
        limits: Limits | None = None,
        ca_file: str | None = None,
        page_records: int = PAGE_RECORDS,
        api: Api = Api.REST,
        fallback_url: str | None = None,
    ) -> Commercetools:
        """Connect with OAuth client credentials; set *auth_url* if another host issues the tokens."""
        config = config or ClientConfig()
        token_config = msgspec.structs.replace(config, limits=limits or config.limits)
        tokens = HttpClient(name, auth_url or base_url, config=token_config.for_token_requests(), ca_file=ca_file)
        auth = ClientCredentials(
            tokens, token_path, client_id=client_id, secret=secret, scope=scope, vault=config.safeguards.vault
        )
        return cls(
            base_url,
            project,
            name=name,
            auth=auth,
            config=config,
            limits=limits,
            ca_file=ca_file,
            page_records=page_records,
            api=api,
            fallback_url=fallback_url,
        )

    @classmethod
    def of(
        cls,
        connection: Connection,
        share: SafeguardsFactory | None = None,
        *,
        name: str = KIND,
        limits: Limits | None = None,
    ) -> Commercetools:
        """
        Connect to the project of an Airflow connection.

        The host is the API's URL; login and password are the API client's ID and secret. The extra has `project`, and
        optionally `scope`, `auth_url`, `token_path`, `api` (`rest` or `graphql`), `fallback_url`, and what every
        connection may have (`client_config_of`).

        Raises:
            BadRequest: a value is missing or not valid; the message says which.

        """
        project, api = connection.text("project"), connection.text("api", "rest")
        login, password = connection.login or "", connection.password or ""
        connection.require(host=connection.url, login=login, password=password, extra__project=project)
        if api not in set(Api):
            # Do not show the value: only fields that the manifest declares as settings may be shown.
            raise BadRequest(
                f"Invalid api in the extra of the connection {connection.connection_id!r}: expected rest or graphql"
            )
        return cls.signed_in(
            connection.url,
            project,
            name=name,
            client_id=login,
            secret=password,
            scope=connection.text("scope", f"view_products:{project}"),
            auth_url=connection.text("auth_url") or None,
            token_path=connection.text("token_path", "/oauth/token"),
            config=client_config_of(connection, share),
            limits=limits,
            api=Api(api),
            fallback_url=connection.text("fallback_url") or None,
        )

    @property
    def http(self) -> HttpClient:
        """The HTTP client, for actions."""
        return self._client

    def path(self, resource: str) -> str:
        """Put *resource* below the project."""
        return f"/{self._project}/{resource}"

    def path_by(self, resource: str, field: str, key: str) -> str:
        """Name one record of *resource* by a field: `orders/order-number=10-4711`."""
        return self.path(f"{resource}/{field}={quote(key, safe='')}")

    def find(self, path: str, parse: Callable[[HttpResponse], T]) -> T | None:
        """
        Read one record; None if there is none.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        try:
            return self._client.get(path, {}, parse)
        except SystemRefused as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def sign_in(self) -> None:
        """
        Fetch a token, unless there is a valid one.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        self._client.sign_in()

    def describe(self, resource: str, changed_since: datetime | None) -> SourceDescription:
        """
        Read commercetools' clock and count the records changed at or after *changed_since* (None: all records).

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        predicate = f"lastModifiedAt >= {quoted(utc_text(changed_since))}" if changed_since else None
        query = {"where": predicate, "sort": ["lastModifiedAt desc"], "limit": 1, "withTotal": "true"}
        return self._call(resource, query, description_of)

    def page(
        self,
        resource: str,
        part: Range,
        after: Cursor | None,
        *,
        limit: int | None = None,
        lines_fields: tuple[str, ...] = (),
    ) -> FetchedPage:
        """
        Read the page of *part* that follows *after*, with at most *limit* records (never more than 500).

        *lines_fields* names the lists whose entries are counted as lines: `lineItems` of an order.

        A page that is not past *after* is retried: the source repeated itself, and landing such pages would never end.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`; the message names the page.

        """
        records = min(limit or self._page_records, self._page_records)
        query = {"where": where(part, after), "sort": sort(part), "limit": records, "withTotal": "false"}
        return self._call(
            resource,
            query,
            lambda response: page_of(response, part, after, requested=records, lines_fields=lines_fields),
        )

    def _call_rest(self, resource: str, query: Mapping[str, Any], parse: Callable[[HttpResponse], T]) -> T:
        return self._client.get(self.path(resource), query, parse)

    def _call_graphql(self, resource: str, query: Mapping[str, Any], parse: Callable[[HttpResponse], T]) -> T:
        document = graphql.document_of(resource, query)
        return self._client.post_json(
            self.path("graphql"), document, lambda response: parse(graphql.as_rest(response, resource))
        )


def client_of(integration: str, connection: Connection, share: SafeguardsFactory | None) -> Commercetools:
    """
    Create the client of *integration*, which is also its source.

    Raises:
        BadRequest: as `Commercetools.of`.

    """
    return Commercetools.of(connection, share, name=integration)


def _fallback_host(system: str, url: str, config: ClientConfig, options: dict[str, Any]) -> Fallback:
    """Call *url* instead. It is another host, so the circuit breaker of the first does not apply."""
    guards = msgspec.structs.replace(config.safeguards, breaker=None)
    other = HttpClient(system, url, config=msgspec.structs.replace(config, safeguards=guards), **options)
    return lambda path, query: other.get(path, query, lambda response: response)
