"""Reads a declared system page by page, and puts its records into the shape that every sync knows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import jmespath  # type: ignore[import-untyped]
import msgspec

from crossdock.connectors.declarative import pagination as paging
from crossdock.connectors.declarative.model import Declaration
from crossdock.connectors.declarative.signing import signer
from crossdock.core.errors import SystemRefused
from crossdock.core.instants import from_utc_text, utc_text
from crossdock.http.client import HttpClient
from crossdock.http.model import Limits
from crossdock.http.policy import Share, conditions_of
from crossdock.http.response import Answer, shown
from crossdock.http.ssrf_guard import Resolver
from crossdock.integrations.model import Connection
from crossdock.sync.source import Axis, Cursor, FetchedPage, Range, SourceDescription

T = TypeVar("T")

#: A place in a list is no instant: this one moves no watermark before the range is read to its end.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DeclaredSource:
    """
    One declared system behind its Airflow connection.

    A page's body is `{"results": […]}`: the records as they came, each with the `id` and `version` that the declaration
    finds in it, so that quarantine and replay know it again.

    Args:
        declaration: What is read, and how it may be called where the connection says nothing else.
        connection: Where it is, and as whom it is called.
        share: As in `conditions_of`.
        limits: In place of all others.
        resolve: How names are resolved; tests have their own way.

    Raises:
        BadRequest: the connection lacks what the declaration needs.

    """

    def __init__(
        self,
        declaration: Declaration,
        connection: Connection,
        share: Share | None = None,
        *,
        limits: Limits | None = None,
        resolve: Resolver | None = None,
    ) -> None:
        self.name = declaration.name
        self._declared = declaration
        conditions = conditions_of(connection, share, declared=declaration.limits.policy)
        conditions = msgspec.structs.replace(conditions, limits=limits or conditions.limits, resolve=resolve)
        base_url = base_url_of(declaration, connection)
        auth = signer(declaration, connection, base_url, conditions)
        self._client = HttpClient(self.name, base_url, auth=auth, conditions=conditions)
        self._origin = urlsplit(base_url)

    def sign_in(self) -> None:
        """
        A token, where the declared kind of authentication has one and none is there yet.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        self._client.sign_in()

    def describe(self, resource: str, changed_since: datetime | None) -> SourceDescription:  # noqa: ARG002  a declaration has one
        """
        The system's own clock. It does not count: what nobody can cut is read in one range.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        since = utc_text(changed_since) if changed_since else None
        now: datetime = self._asked(None, since, lambda answer: answer.date, limit=1)
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
        The page of *part* that begins where *after* says, of at most *limit* records.

        Named keys are looked for in all pages: no declaration says how to ask for one. A page that leads to itself is
        asked for again; landing it for ever would be a run without an end.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        # To the millisecond and never later: what changed in the same one is read too.
        since = utc_text(datetime.fromisoformat(part.low)) if part.axis is Axis.TIME and part.low else None
        place = after.id if after else None
        parse = partial(self._fetched, part=part, place=place, limit=limit)
        # What is looked for by its key may be anywhere: then the pages stay whole.
        found: FetchedPage = self._asked(place, since, parse, limit=None if part.axis is Axis.KEYS else limit)
        return found

    def _asked(
        self, place: str | None, since: str | None, parse: Callable[[Answer], T], *, limit: int | None = None
    ) -> T:
        read = self._declared.read
        first = place is None
        pages = paging.first_query(read.paging, limit) if place is None else paging.query_of(read.paging, place, limit)
        query = {**({} if not first and read.paging.kind == "link" else read.query), **pages}
        if since is not None and read.changed_since is not None and (first or read.paging.kind != "link"):
            query[read.changed_since.parameter] = _joined(
                query, read.changed_since.parameter, read.changed_since.template.replace("{instant}", since)
            )
        path = self._path_of(place) if read.paging.kind == "link" and place is not None else read.path
        if read.graphql:
            return self._client.post_json(path, {"query": read.graphql, "variables": query}, parse)
        return self._client.get(path, query, parse)

    def _path_of(self, link: str) -> str:
        """
        The path of *link* below the base URL. Its query comes back as parameters.

        Raises:
            SystemRefused: it leads to another server, which would be shown our credentials.

        """
        target = urlsplit(link)
        if target.netloc and (target.scheme, target.netloc) != (self._origin.scheme, self._origin.netloc):
            raise SystemRefused(self.name, 0, f"its next page is on another server, {target.netloc}")
        return target.path.removeprefix(self._origin.path) if target.path else self._declared.read.path

    def _fetched(self, answer: Answer, part: Range, place: str | None, limit: int | None) -> FetchedPage:
        document = self._document(answer)
        records = jmespath.search(self._declared.read.records, document)
        if not isinstance(records, list):
            raise answer.invalid(f"has no list of records at {self._declared.read.records}")
        asked = paging.sized(self._declared.read.paging, None if part.axis is Axis.KEYS else limit)
        following = paging.next_place(asked, place, document, records, answer.headers)
        if following is not None and following == place:
            raise answer.invalid("leads to itself: the page before it again")
        kept = [self._as_record(record) for record in records]
        if part.axis is Axis.KEYS:
            wanted = set(part.keys)
            kept = [record for record in kept if str(record.get(str(part.field))) in wanted]
        whole = limit is None or len(kept) <= limit
        kept = kept[:limit]
        cursor = Cursor(_EPOCH, following) if following is not None else None
        body = json.dumps({"results": kept}).encode()
        return FetchedPage(body=body, records=len(kept), cursor=cursor, last=whole and following is None)

    def _document(self, answer: Answer) -> Any:
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise answer.invalid("is not JSON") from error
        if self._declared.read.graphql and isinstance(document, dict) and document.get("errors"):
            first = document["errors"][0] if isinstance(document["errors"], list) else {}
            said = first.get("message", "no message") if isinstance(first, dict) else "no message"
            raise SystemRefused(self.name, answer.status, shown(f"{answer.what}: {said}", answer))
        return document

    def _as_record(self, record: Any) -> dict[str, Any]:
        """*record* with the id, version and key that the declaration finds in it; where it finds none, the gate says so."""
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
    """The connection's host, or else the declared one."""
    return connection.url or declaration.base_url.rstrip("/")


def _microseconds(instant: str) -> int:
    span = from_utc_text(instant) - _EPOCH
    return span.days * 86_400_000_000 + span.seconds * 1_000_000 + span.microseconds


def _joined(query: Mapping[str, Any], parameter: str, condition: str) -> str:
    """*condition*, beside what the query asks of the same parameter already."""
    before = query.get(parameter)
    return f"({before}) and ({condition})" if before else condition
