"""The client of one HubSpot account: reads contacts page by page, and gives actions what the settings say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from crossdock.connectors.hubspot import pages
from crossdock.core.errors import BadRequest
from crossdock.http.auth import ApiKey
from crossdock.http.client import HttpClient
from crossdock.http.config import ClientConfig, SafeguardsFactory, client_config_of
from crossdock.http.connection import Connection
from crossdock.http.model import CallPolicy, Limits, Rate
from crossdock.http.response import HttpResponse
from crossdock.sync.source import Axis, Cursor, FetchedPage, Range, SourceDescription

KIND = "hubspot"
CONTACTS = "/crm/v3/objects/contacts"
#: The vendor's limit of a page and of a batch.
PAGE_RECORDS = 100
#: The smallest limit that the vendor gives a private app.
_POLICY = CallPolicy(rate=Rate(calls=100, per_s=10.0, burst=10))
_TOO_MANY = 429
#: The daily limit is reset at midnight in the account's time zone, which no answer names: it is tried again now and then.
_DAILY_WAIT_S = 900.0


class Standing(msgspec.Struct, frozen=True):
    """How the account says whether a customer may order."""

    #: None: it does not say.
    property: str | None = None
    good: frozenset[str] = frozenset({"good"})
    blocked: frozenset[str] = frozenset({"blocked"})

    def of(self, value: str | None) -> str:
        """Say what *value* of the property means: good, blocked or unknown."""
        if value in self.blocked:
            return "blocked"
        return "good" if value in self.good else "unknown"


class HubSpot:
    """
    One HubSpot account.

    Args:
        base_url: `https://api.hubapi.com`.
        token: The private app's.
        name: The integration's ID, for errors and metrics.
        key_property: The property that identifies a customer; its values are unique.
        standing: How the account says whether a customer may order.
        config: As for `HttpClient`, like *limits*.

    Raises:
        BadRequest: the token cannot be sent, or the URL is not valid.

    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        name: str = KIND,
        key_property: str = "email",
        standing: Standing | None = None,
        config: ClientConfig | None = None,
        limits: Limits | None = None,
        page_records: int = PAGE_RECORDS,
    ) -> None:
        self.name, self.key_property, self.standing = name, key_property, standing or Standing()
        self._client = HttpClient(
            name,
            base_url,
            auth=ApiKey(token, header="Authorization", prefix="Bearer"),
            config=config,
            limits=limits,
            wait_of=_wait_of,
        )
        self._page_records = page_records

    @classmethod
    def of(
        cls,
        connection: Connection,
        share: SafeguardsFactory | None = None,
        *,
        name: str = KIND,
        limits: Limits | None = None,
    ) -> HubSpot:
        """
        Connect to the account of an Airflow connection.

        The host is the API's URL, the password the private app's token. The extra may have `key_property`,
        `standing_property`, `good_values`, `blocked_values`, and what every connection may have (`client_config_of`).

        Raises:
            BadRequest: a value is missing or not valid; the message says which.

        """
        token = connection.password or ""
        connection.require(host=connection.url, password=token)
        standing = Standing(
            connection.text("standing_property") or None,
            _words(connection, "good_values", "good"),
            _words(connection, "blocked_values", "blocked"),
        )
        return cls(
            connection.url,
            token,
            name=name,
            key_property=connection.text("key_property", "email"),
            standing=standing,
            config=client_config_of(connection, share, declared=_POLICY),
            limits=limits,
        )

    @property
    def http(self) -> HttpClient:
        """The HTTP client, for actions."""
        return self._client

    def describe(self, resource: str, changed_since: datetime | None) -> SourceDescription:  # noqa: ARG002  it has contacts only
        """
        Read HubSpot's clock and count the contacts changed at or after *changed_since* (None: all contacts).

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        question = pages.newest_first(pages.changed_from(changed_since))
        return self._client.post_json(f"{CONTACTS}/search", question, pages.description_of)

    def page(
        self,
        resource: str,  # noqa: ARG002
        part: Range,
        after: Cursor | None,
        *,
        limit: int | None = None,
        lines_fields: tuple[str, ...] = (),  # noqa: ARG002
    ) -> FetchedPage:
        """
        Read the page of *part* that follows *after*, with at most *limit* contacts (never more than 100).

        All contacts come from the list, named ones from a batch, and what changed from the search, in the order of the IDs:
        the search has no second sort, so that contacts changed in one millisecond have no order by time.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        most = min(limit or self._page_records, self._page_records, PAGE_RECORDS)
        names = pages.names_to_sync(self.key_property)
        after_id = after.id if after else None
        match part.axis:
            case Axis.ID:
                query = {"limit": most, "after": after_id, "properties": ",".join(names), "archived": "false"}
                return self._client.get(
                    CONTACTS, query, lambda answer: pages.listed(answer, after_id, self.key_property)
                )
            case Axis.TIME:
                question = pages.question(pages.window(part, after_id), names=names, limit=most)
                return self._client.post_json(
                    f"{CONTACTS}/search",
                    question,
                    lambda answer: pages.found(answer, after_id, self.key_property, most=most),
                )
            case Axis.KEYS:
                return self._named(part, after_id, names, most)

    def _named(self, part: Range, after_id: str | None, names: Sequence[str], most: int) -> FetchedPage:
        """Read the next *most* named contacts; the cursor counts the keys that were asked for."""
        keys, done = sorted({key.lower() for key in part.keys}), int(after_id or 0)
        asked, id_property = keys[done : done + most], None if part.field == "id" else part.field
        document = batch_of(asked, id_property, names)
        return self._client.post_json(
            f"{CONTACTS}/batch/read",
            document,
            lambda answer: pages.named(answer, self.key_property, done=done + len(asked), all_keys=len(keys)),
        )


def batch_of(ids: Sequence[str], id_property: str | None, names: Sequence[str]) -> dict[str, Any]:
    """Build the request for the contacts *ids*, by their own IDs or by a unique property."""
    inputs = [{"id": contact_id} for contact_id in ids]
    document = {"inputs": inputs, "properties": list(names), "propertiesWithHistory": []}
    return {**document, "idProperty": id_property} if id_property else document


def client_of(integration: str, connection: Connection, share: SafeguardsFactory | None) -> HubSpot:
    """
    Create the client of *integration*, which is also its source.

    Raises:
        BadRequest: as `HubSpot.of`.

    """
    return HubSpot.of(connection, share, name=integration)


def _words(connection: Connection, name: str, default: str) -> frozenset[str]:
    given = connection.extra.get(name) or [default]
    if not isinstance(given, list) or not all(isinstance(word, str) for word in given):
        raise BadRequest(f"{name} in the extra of the connection {connection.connection_id!r} is not a list of texts")
    return frozenset(given)


def _wait_of(response: HttpResponse) -> float | None:
    """Read from a refusal how long to wait: the vendor names the limit, and sends no Retry-After for that of a day."""
    if response.status != _TOO_MANY or b'"DAILY"' not in response.body:
        return None
    return _DAILY_WAIT_S
