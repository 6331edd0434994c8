"""Read a declared system page by page, and convert its records to the shape that every sync reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import jmespath  # type: ignore[import-untyped]
import msgspec

from crossdock.connectors.declarative import pagination
from crossdock.connectors.declarative.model import Declaration
from crossdock.connectors.declarative.signing import signer_of
from crossdock.core.errors import SystemRefused
from crossdock.core.instants import from_utc_text, utc_text
from crossdock.http.client import HttpClient
from crossdock.http.config import SafeguardsFactory, client_config_of
from crossdock.http.connection import Connection
from crossdock.http.model import Limits
from crossdock.http.response import HttpResponse, redacted
from crossdock.http.ssrf_guard import Resolver
from crossdock.sync.source import Axis, Cursor, FetchedPage, Range, SourceDescription

T = TypeVar("T")

#: A position in a list is not a time: this value moves no watermark before the range has been read to its end.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DeclaredSource:
    """
    One declared system and its Airflow connection.

    A page's body is `{"results": […]}`: the records as received, each with the `id` and `version` that the declaration
    finds in it, so that quarantine and replay can identify it.

    Args:
        declaration: What is read, and the limits for everything that the connection does not set.
        connection: The system's address and credentials.
        share: As in `client_config_of`.
        limits: Replace all other limits.
        resolve: How names are resolved; tests pass their own.

    Raises:
        BadRequest: the connection lacks a value that the declaration needs.

    """

    def __init__(
        self,
        declaration: Declaration,
        connection: Connection,
        share: SafeguardsFactory | None = None,
        *,
        limits: Limits | None = None,
        resolve: Resolver | None = None,
    ) -> None:
        self.name = declaration.name
        self._declared = declaration
        config = client_config_of(connection, share, declared=declaration.limits.policy)
        config = msgspec.structs.replace(config, limits=limits or config.limits, resolve=resolve)
        base_url = base_url_of(declaration, connection)
        auth = signer_of(declaration, connection, base_url, config)
        self._client = HttpClient(self.name, base_url, auth=auth, config=config)
        self._origin = urlsplit(base_url)

    def sign_in(self) -> None:
        """
        Fetch a token, if the declared authentication uses one and there is none yet.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        self._client.sign_in()

    def describe(self, resource: str, changed_since: datetime | None) -> SourceDescription:  # noqa: ARG002  a declaration has one
        """
        Read the system's clock. It does not count the records: a list that cannot be cut is read as one range.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        since = utc_text(changed_since) if changed_since else None
        now: datetime = self._request(None, since, lambda response: response.date, limit=1)
        return SourceDescription(now, 0)

    def page(
        self,
        resource: str,  # noqa: ARG002
        part: Range,
        after: Cursor | None,
        *,
        limit: int | None = None,
        lines_field: str | None = None,  # noqa: ARG002
    ) -> FetchedPage:
        """
        Read the page of *part* that begins at *after*, with at most *limit* records.

        Keys are searched in all pages, because a declaration cannot request single records. A page whose next page is
        itself is retried; landing such pages would never end.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        # Truncated to the millisecond, so that changes within the same millisecond are read too.
        since = utc_text(datetime.fromisoformat(part.low)) if part.axis is Axis.TIME and part.low else None
        position = after.id if after else None
        parse = partial(self._page_of, part=part, position=position, limit=limit)
        # A key may be on any page, so pages keep their size.
        found: FetchedPage = self._request(position, since, parse, limit=None if part.axis is Axis.KEYS else limit)
        return found

    def _request(
        self, position: str | None, since: str | None, parse: Callable[[HttpResponse], T], *, limit: int | None = None
    ) -> T:
        read = self._declared.read
        first = position is None
        pages = (
            pagination.first_page_query(read.paging, limit)
            if position is None
            else pagination.page_query(read.paging, position, limit)
        )
        query = {**({} if not first and read.paging.kind == "link" else read.query), **pages}
        if since is not None and read.changed_since is not None and (first or read.paging.kind != "link"):
            query[read.changed_since.parameter] = _joined(
                query, read.changed_since.parameter, read.changed_since.template.replace("{instant}", since)
            )
        path = self._path_of(position) if read.paging.kind == "link" and position is not None else read.path
        if read.graphql:
            return self._client.post_json(path, {"query": read.graphql, "variables": query}, parse)
        return self._client.get(path, query, parse)

    def _path_of(self, link: str) -> str:
        """
        Take the path of *link* below the base URL; `page_query` reads its query.

        Raises:
            SystemRefused: the link points to another server, which would receive our credentials.

        """
        target = urlsplit(link)
        if target.netloc and (target.scheme, target.netloc) != (self._origin.scheme, self._origin.netloc):
            raise SystemRefused(self.name, 0, f"its next page is on another server, {target.netloc}")
        return target.path.removeprefix(self._origin.path) if target.path else self._declared.read.path

    def _page_of(self, response: HttpResponse, part: Range, position: str | None, limit: int | None) -> FetchedPage:
        document = self._document(response)
        records = jmespath.search(self._declared.read.records, document)
        if not isinstance(records, list):
            raise response.invalid(f"has no list of records at {self._declared.read.records}")
        paging = pagination.limit_page_size(self._declared.read.paging, None if part.axis is Axis.KEYS else limit)
        following = pagination.next_position(paging, position, document, records, response.headers)
        if following is not None and following == position:
            raise response.invalid("links to itself: it repeats the previous page")
        kept = [self._as_record(record) for record in records]
        if part.axis is Axis.KEYS:
            requested = set(part.keys)
            kept = [record for record in kept if str(record.get(str(part.field))) in requested]
        whole = limit is None or len(kept) <= limit
        kept = kept[:limit]
        cursor = Cursor(_EPOCH, following) if following is not None else None
        body = json.dumps({"results": kept}).encode()
        return FetchedPage(body=body, records=len(kept), cursor=cursor, last=whole and following is None)

    def _document(self, response: HttpResponse) -> Any:
        try:
            document = json.loads(response.body)
        except (ValueError, RecursionError) as error:
            raise response.invalid("is not JSON") from error
        if self._declared.read.graphql and isinstance(document, dict) and document.get("errors"):
            first = document["errors"][0] if isinstance(document["errors"], list) else {}
            message = first.get("message", "no message") if isinstance(first, dict) else "no message"
            raise SystemRefused(self.name, response.status, redacted(f"{response.endpoint}: {message}", response))
        return document

    def _as_record(self, record: Any) -> dict[str, Any]:
        """Add the id and version that the declaration finds in *record*; validation rejects a record without them."""
        identity = self._declared.identity
        fields = dict(record) if isinstance(record, dict) else {"value": record}
        found_id = jmespath.search(identity.id, record)
        if isinstance(found_id, int) and not isinstance(found_id, bool):
            found_id = str(found_id)
        fields["id"] = found_id
        fields["version"] = self._version(record)
        return fields

    def _version(self, record: Mapping[str, Any]) -> Any:
        identity = self._declared.identity
        if identity.version:
            return jmespath.search(identity.version, record)
        changed_at = jmespath.search(identity.changed_at, record)
        try:
            return _microseconds(changed_at)
        except (TypeError, ValueError):
            return None


def base_url_of(declaration: Declaration, connection: Connection) -> str:
    """Choose the connection's host, or else the declared one."""
    return connection.url or declaration.base_url.rstrip("/")


def _microseconds(instant: str) -> int:
    span = from_utc_text(instant) - _EPOCH
    return span.days * 86_400_000_000 + span.seconds * 1_000_000 + span.microseconds


def _joined(query: Mapping[str, Any], parameter: str, condition: str) -> str:
    """Combine *condition* with the one that the query already has in the same parameter."""
    before = query.get(parameter)
    return f"({before}) and ({condition})" if before else condition
