"""Read a declared system page by page, and convert its records to the shape that every sync reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from crossdock.connectors.declarative import pagination
from crossdock.connectors.declarative.content import decoded
from crossdock.connectors.declarative.mapping import identified
from crossdock.connectors.declarative.model import Declaration, Paging
from crossdock.connectors.declarative.pagination import Answer, InvalidPage, Place, Repeated
from crossdock.connectors.declarative.paths import PathDoesNotFit, finder, shown
from crossdock.connectors.declarative.signing import base_url_of, signer_of
from crossdock.core import exact_json
from crossdock.core.errors import SourceInvalid, SystemRefused
from crossdock.core.instants import utc_text
from crossdock.http import graphql
from crossdock.http.client import HttpClient
from crossdock.http.config import SafeguardsFactory, client_config_of
from crossdock.http.connection import Connection
from crossdock.http.links import OtherServer, followed
from crossdock.http.model import Limits
from crossdock.http.response import HttpResponse, redacted
from crossdock.http.ssrf_guard import Resolver
from crossdock.sync.source import Axis, Cursor, FetchedPage, Range, SourceDescription

T = TypeVar("T")

#: A position in a list is not a time: this value moves no watermark before the range has been read to its end.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: A page past the end of the list.
_NOTHING = FetchedPage(body=b'{"results":[]}', records=0, cursor=None, last=True)
#: What systems answer where there is no such page, though most that do so mean something else.
_PERHAPS_PAST_THE_END = frozenset({400, 404, 416, 422})


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
        # Of the origin: a link to a next page may lead out of the base URL's path.
        origin = urlsplit(base_url)._replace(path="", query="", fragment="").geturl()
        self._client = HttpClient(self.name, origin, auth=auth, config=config)
        self._path = urlsplit(base_url).path.rstrip("/") + declaration.read.path
        self._identified = identified(declaration)

    def sign_in(self) -> None:
        """
        Fetch a token, if the declared authentication uses one and there is none yet.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        self._client.sign_in()

    def describe(self, resource: str, changed_since: datetime | None) -> SourceDescription:  # noqa: ARG002  a declaration has one
        """
        Read the system's clock, and how many records it announces, if the declaration says where.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        since = utc_text(changed_since) if changed_since else None
        return self._request(Place(), since, self._described, limit=1)

    def _described(self, response: HttpResponse) -> SourceDescription:
        try:
            document = decoded(response)
        except ValueError:  # Reading the page says so.
            document = None
        paging = self._declared.read.paging
        total = pagination.announced(paging, document, response.headers)
        return SourceDescription(response.date, total, is_one_range=True)

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
        Read the page of *part* that begins at *after*, with at most *limit* records.

        Keys are searched in all pages, because a declaration cannot request single records. A page whose next page is
        itself, or that was read before, is requested again: a cache on the way may have answered.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`; an invalid page has its number.
            ListWithoutEnd: the list goes in a circle, or has more pages than declared.

        """
        # Truncated to the millisecond, so that changes within the same millisecond are read too.
        since = utc_text(datetime.fromisoformat(part.low)) if part.axis is Axis.TIME and part.low else None
        place = Place.of(after.id) if after else Place()
        # A key may be on any page, so pages keep their size.
        size = None if part.axis is Axis.KEYS else limit
        parse = partial(self._page_of, part=part, place=place, limit=limit)
        try:
            return self._twice_if_repeated(place, since, parse, size)
        except SourceInvalid as error:
            page = f"{error.page} (page {place.page_no} of the list)"
            raise SourceInvalid(error.system, page, error.status, error.cause) from error
        except SystemRefused as refused:
            if not self._is_perhaps_past_the_end(refused, place):
                raise
            advice = f"If it answers so past the end of the list, declare read.paging.past_end: [{refused.status}]"
            message = f"{refused.message} (page {place.page_no} of the list). {advice}"
            raise SystemRefused(refused.system, refused.status, message) from refused

    def _twice_if_repeated(
        self, place: Place, since: str | None, parse: Callable[..., FetchedPage], limit: int | None
    ) -> FetchedPage:
        try:
            return self._request(place, since, parse, limit=limit)
        except Repeated:
            return self._request(place, since, partial(parse, is_repeated=True), limit=limit)

    def _request(
        self, place: Place, since: str | None, parse: Callable[[HttpResponse], T], *, limit: int | None = None
    ) -> T:
        read, first = self._declared.read, place.position is None
        is_link = read.paging.kind == "link"
        pages = pagination.query_of(read.paging, place.position, limit)
        query = {**({} if is_link and not first else read.query), **pages}
        if since is not None and read.changed_since is not None and (first or not is_link):
            query[read.changed_since.parameter] = _joined(
                query, read.changed_since.parameter, read.changed_since.template.replace("{instant}", since)
            )
        path = self._path_of(place.position) if is_link and place.position is not None else self._path
        accept = _ends(read.paging, place)
        if read.graphql:
            return self._client.post_json(path, {"query": read.graphql, "variables": query}, parse, accept=accept)
        return self._client.get(path, query, parse, accept=accept)

    def _is_perhaps_past_the_end(self, refused: SystemRefused, place: Place) -> bool:
        """Say whether the list may have ended. A link or a cursor is the system's own word that there is another page."""
        paging = self._declared.read.paging
        is_own_word = paging.kind in {"link", "cursor"}
        return bool(place.pages) and not is_own_word and refused.status in _PERHAPS_PAST_THE_END - set(paging.past_end)

    def _path_of(self, position: str) -> str:
        """Take the path of a link; `query_of` reads its query."""
        # Resolved when it was found; an earlier version of the hub kept it as it came.
        return urlsplit(followed(position, page=self._client.base_url + self._path)).path

    def _page_of(
        self, response: HttpResponse, part: Range, place: Place, limit: int | None, *, is_repeated: bool = False
    ) -> FetchedPage:
        try:
            return self._parsed(response, part, place, limit, is_repeated=is_repeated)
        except InvalidPage as error:
            raise response.invalid(redacted(str(error), response)) from error
        except OtherServer as error:
            # It would receive our credentials.
            raise SystemRefused(
                self.name, response.status, f"its next page is on another server, {redacted(str(error), response)}"
            ) from error
        except RecursionError as error:
            raise response.invalid("nests too deeply") from error

    def _parsed(
        self, response: HttpResponse, part: Range, place: Place, limit: int | None, *, is_repeated: bool
    ) -> FetchedPage:
        paging = pagination.limit_page_size(self._declared.read.paging, None if part.axis is Axis.KEYS else limit)
        if response.status in _ends(paging, place) and self._is_past_the_end(response):
            pagination.past_the_end(paging, place, None)
            return _NOTHING
        document = self._document(response)
        if self._declared.read.graphql and isinstance(document, dict) and document.get("errors"):
            error = graphql.error_of(response, document)
            # A system that is busy says nothing about the end of the list.
            is_end = isinstance(error, SystemRefused) and "errors" in paging.past_end and bool(place.pages)
            if not (is_end and self._fits_the_end(document)):
                raise error
            pagination.past_the_end(paging, place, None)
            return _NOTHING
        records = self._records(document)
        known = [self._identified(record) for record in records]
        ids = [record["id"] for record in known]
        answer = Answer(document, records, ids, response.headers, str(response.request.url))
        try:
            following = pagination.next_place(paging, place, answer)
        except Repeated:
            if not is_repeated:
                raise
            pagination.past_the_end(paging, place, answer)
            return _NOTHING
        kept = self._requested(known, part.keys) if part.axis is Axis.KEYS else known
        whole = limit is None or len(kept) <= limit
        kept = kept[:limit]
        cursor = Cursor(_EPOCH, following.text) if following is not None else None
        body = exact_json.encode({"results": kept})
        return FetchedPage(body=body, records=len(kept), cursor=cursor, last=whole and following is None)

    def _is_past_the_end(self, response: HttpResponse) -> bool:
        """
        Check whether an answer with a declared status is of a page past the end of the list.

        Raises:
            SystemRefused: it is a refusal for another reason.

        """
        if not self._declared.read.paging.past_end_if:
            return True
        try:
            fits = self._fits_the_end(decoded(response))
        except ValueError:
            fits = False
        if not fits:
            response.raise_for_status()
        return fits

    def _fits_the_end(self, document: Any) -> bool:
        condition = self._declared.read.paging.past_end_if
        try:
            return not condition or bool(finder(condition)(document))
        except PathDoesNotFit:
            return False

    def _document(self, response: HttpResponse) -> Any:
        try:
            return decoded(response)
        except ValueError as error:
            raise InvalidPage("is not JSON") from error

    def _records(self, document: Any) -> list[Any]:
        path = self._declared.read.records
        try:
            records = finder(path)(document)
        except PathDoesNotFit as error:
            if error.is_empty_list_for_object:
                return []
            raise InvalidPage(f"has no list of records at {path}, which {error} and got {shown(error.came)}") from error
        if not isinstance(records, list):
            raise InvalidPage(f"has no list of records at {path}, but {shown(records)}")
        return records

    def _requested(self, records: list[dict[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
        """Select the records whose key or ID is one of *keys*."""
        requested = set(keys)
        return [record for record in records if not requested.isdisjoint({str(record["id"]), self._key_of(record)})]

    def _key_of(self, record: dict[str, Any]) -> str:
        key = self._declared.identity.key
        try:
            return str(finder(key)(record)) if key else ""
        except PathDoesNotFit:
            return ""


def _ends(paging: Paging, place: Place) -> frozenset[int]:
    """List the statuses that mean: there is no such page. A refusal of the first page is one."""
    statuses = frozenset(status for status in paging.past_end if isinstance(status, int))
    return statuses if place.pages else statuses & {HTTPStatus.NO_CONTENT}


def _joined(query: Mapping[str, Any], parameter: str, condition: str) -> str:
    """Combine *condition* with the one that the query already has in the same parameter."""
    before = query.get(parameter)
    return f"({before}) and ({condition})" if before else condition
