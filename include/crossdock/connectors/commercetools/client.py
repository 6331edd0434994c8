"""Reads commercetools' resources page by page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from requests.auth import AuthBase

from crossdock.connectors.commercetools import graphql
from crossdock.connectors.commercetools.pages import described, fetched
from crossdock.connectors.commercetools.predicates import quoted, sort, where
from crossdock.core.errors import BadRequest
from crossdock.core.instants import utc_text
from crossdock.http.client import HttpClient
from crossdock.http.model import Limits
from crossdock.http.oauth import ClientCredentials
from crossdock.http.policy import Conditions, Fallback, Share, conditions_of
from crossdock.http.response import Answer
from crossdock.integrations.model import Connection
from crossdock.sync.source import Cursor, FetchedPage, Range, SourceDescription

T = TypeVar("T")

#: The vendor's own limit; larger pages are refused with 400.
PAGE_RECORDS = 500


class Api(StrEnum):
    """Which of the vendor's two doors is asked; what comes back is the same."""

    REST = "rest"
    GRAPHQL = "graphql"


class Commercetools:
    """
    One commercetools project.

    Args:
        base_url: The API of its region, without the project: `https://api.europe-west1.gcp.commercetools.com`.
        project: The project key.
        auth: Signs the requests; None for a source that asks for none.
        conditions: As `HttpClient`'s, like *limits* and *ca_file*.
        api: REST unless told otherwise.
        fallback_url: Read from in place of *base_url* while its breaker is open, with the same credentials: another
            region, or a cache of one's own. None by default; over REST only.

    """

    name = "commercetools"

    def __init__(
        self,
        base_url: str,
        project: str,
        *,
        auth: AuthBase | None = None,
        conditions: Conditions | None = None,
        limits: Limits | None = None,
        ca_file: str | None = None,
        page_records: int = PAGE_RECORDS,
        api: Api = Api.REST,
        fallback_url: str | None = None,
    ) -> None:
        options: dict[str, Any] = {"auth": auth, "limits": limits, "ca_file": ca_file}
        conditions = conditions or Conditions()
        fallback = _other_host(self.name, fallback_url, conditions, options) if fallback_url else None
        self._client = HttpClient(self.name, base_url, conditions=conditions, fallback=fallback, **options)
        self._project = quote(project, safe="")
        self._page_records = page_records
        self._ask = self._ask_graphql if api is Api.GRAPHQL else self._ask_rest

    @classmethod
    def signed_in(
        cls,
        base_url: str,
        project: str,
        *,
        client_id: str,
        secret: str,
        scope: str,
        auth_url: str | None = None,
        token_path: str = "/oauth/token",  # noqa: S107  a path, not a password
        conditions: Conditions | None = None,
        limits: Limits | None = None,
        ca_file: str | None = None,
        page_records: int = PAGE_RECORDS,
        api: Api = Api.REST,
        fallback_url: str | None = None,
    ) -> Commercetools:
        """The project behind OAuth client credentials; *auth_url* where the tokens come from another host."""
        conditions = conditions or Conditions()
        asked = msgspec.structs.replace(conditions, limits=limits or conditions.limits)
        tokens = HttpClient(cls.name, auth_url or base_url, conditions=asked.for_tokens(), ca_file=ca_file)
        auth = ClientCredentials(
            tokens, token_path, client_id=client_id, secret=secret, scope=scope, vault=conditions.safeguards.vault
        )
        return cls(
            base_url,
            project,
            auth=auth,
            conditions=conditions,
            limits=limits,
            ca_file=ca_file,
            page_records=page_records,
            api=api,
            fallback_url=fallback_url,
        )

    @classmethod
    def of(cls, connection: Connection, share: Share | None = None, *, limits: Limits | None = None) -> Commercetools:
        """
        The project behind an Airflow connection.

        The host is the API's URL, login and password are the API client's id and secret; the extra
        holds `project`, and if need be `scope`, `auth_url`, `token_path`, `api` (`rest` or `graphql`),
        `fallback_url`, and what every connection may hold (`conditions_of`).

        Raises:
            BadRequest: something is missing, or is not what it should be; the message says what.

        """
        project, api = connection.text("project"), connection.text("api", "rest")
        login, password = connection.login or "", connection.password or ""
        connection.require(host=connection.url, login=login, password=password, extra__project=project)
        if api not in set(Api):
            # Not what it is: of an extra, only what a kind knows as a setting may be seen.
            raise BadRequest(
                f"api in the extra of the connection {connection.connection_id!r} is none; expected rest or graphql"
            )
        return cls.signed_in(
            connection.url,
            project,
            client_id=login,
            secret=password,
            scope=connection.text("scope", f"view_products:{project}"),
            auth_url=connection.text("auth_url") or None,
            token_path=connection.text("token_path", "/oauth/token"),
            conditions=conditions_of(connection, share),
            limits=limits,
            api=Api(api),
            fallback_url=connection.text("fallback_url") or None,
        )

    def sign_in(self) -> None:
        """
        A token, fetched where there is none yet.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        self._client.sign_in()

    def describe(self, resource: str, changed_since: datetime | None) -> SourceDescription:
        """
        The platform's own clock, and how many records changed at or after an instant (None: how many there are).

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        predicate = f"lastModifiedAt >= {quoted(utc_text(changed_since))}" if changed_since else None
        query = {"where": predicate, "limit": 1, "withTotal": "true"}
        return self._ask(resource, query, described)

    def page(
        self,
        resource: str,
        part: Range,
        after: Cursor | None,
        *,
        limit: int | None = None,
        lines_field: str | None = None,
    ) -> FetchedPage:
        """
        The page of *part* that follows *after*, of at most *limit* records (the vendor's most: 500).

        *lines_field* names the list whose entries are counted as lines: `lineItems` of an order.

        A page that is not past *after* is asked for again: the source repeated itself, and landing it
        for ever would be a run without an end.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`, with the page named.

        """
        records = min(limit or self._page_records, self._page_records)
        query = {"where": where(part, after), "sort": sort(part), "limit": records, "withTotal": "false"}
        return self._ask(
            resource, query, lambda answer: fetched(answer, part, after, asked=records, lines_field=lines_field)
        )

    def _ask_rest(self, resource: str, query: Mapping[str, Any], parse: Callable[[Answer], T]) -> T:
        return self._client.get(f"/{self._project}/{resource}", query, parse)

    def _ask_graphql(self, resource: str, query: Mapping[str, Any], parse: Callable[[Answer], T]) -> T:
        document = graphql.document_of(resource, query)
        return self._client.post_json(
            f"/{self._project}/graphql", document, lambda answer: parse(graphql.as_rest(answer, resource))
        )


def _other_host(system: str, url: str, conditions: Conditions, options: dict[str, Any]) -> Fallback:
    """Asks *url* instead; it is another host, so the breaker of the first says nothing of it."""
    guards = msgspec.structs.replace(conditions.safeguards, breaker=None)
    other = HttpClient(system, url, conditions=msgspec.structs.replace(conditions, safeguards=guards), **options)
    return lambda path, query: other.get(path, query, lambda answer: answer)
