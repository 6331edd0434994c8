"""Reads commercetools' resources page by page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from requests.auth import AuthBase

from include.connectors.answers import Answer
from include.connectors.commercetools import graphql
from include.connectors.commercetools.predicates import quoted, sort, where
from include.connectors.connection import Connection, Share
from include.connectors.http import Conditions, Fallback, HttpClient
from include.connectors.oauth import ClientCredentials
from include.model.calls import Limits, Safeguards
from include.model.errors import BadRequest
from include.model.instants import from_utc_text, utc_text
from include.model.reading import Axis, Cursor, FetchedPage, Range, Survey

T = TypeVar("T")

#: The vendor's own limit; larger pages are refused with 400.
PAGE_RECORDS = 500


class _Stub(msgspec.Struct, rename="camel"):
    """
    What a page is ordered by. Everything else of a record is skipped here and decoded once, in `validate`.

    Of any type: a record in which one of them is wrong goes to quarantine, not the whole page.
    """

    id: Any = None
    last_modified_at: Any = None


class _PageStub(msgspec.Struct):
    count: int
    results: list[_Stub]
    total: int | None = None


_decode_stub = msgspec.json.Decoder(_PageStub).decode


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
        tokens = HttpClient(cls.name, auth_url or base_url, conditions=_for_tokens(conditions, limits), ca_file=ca_file)
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
    def from_connection(cls, conn_id: str, share: Share | None = None) -> Commercetools:
        """
        The project behind an Airflow connection of type `http`. Call it inside a task.

        The host is the API's URL, login and password are the API client's id and secret; the extra
        holds `project`, and if need be `scope`, `auth_url`, `token_path`, `api` (`rest` or `graphql`),
        `fallback_url`, and what every connection may hold (`Connection`).

        Raises:
            BadRequest: something is missing, or is not what it should be; the message says what.

        """
        found = Connection.read(conn_id)
        project, api = found.text("project"), found.text("api", "rest")
        found.require(host=found.url, login=found.login, password=found.password, extra__project=project)
        if api not in set(Api):
            raise BadRequest(f"api in the extra of the connection {conn_id!r} is {api!r}; expected rest or graphql")
        return cls.signed_in(
            found.url,
            project,
            client_id=found.login,
            secret=found.password,
            scope=found.text("scope", f"view_products:{project}"),
            auth_url=found.text("auth_url") or None,
            token_path=found.text("token_path", "/oauth/token"),
            conditions=found.conditions(share),
            api=Api(api),
            fallback_url=found.text("fallback_url") or None,
        )

    def survey(self, resource: str, changed_since: datetime | None) -> Survey:
        """
        The platform's own clock, and how many records changed at or after an instant (None: how many there are).

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

        """
        predicate = f"lastModifiedAt >= {quoted(utc_text(changed_since))}" if changed_since else None
        query = {"where": predicate, "limit": 1, "withTotal": "true"}
        return self._ask(resource, query, self._surveyed)

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
        return self._ask(resource, query, lambda answer: self._fetched(answer, part, after, records, lines_field))

    def _ask_rest(self, resource: str, query: Mapping[str, Any], parse: Callable[[Answer], T]) -> T:
        return self._client.get(f"/{self._project}/{resource}", query, parse)

    def _ask_graphql(self, resource: str, query: Mapping[str, Any], parse: Callable[[Answer], T]) -> T:
        document = graphql.document_of(resource, query)
        return self._client.post_json(
            f"/{self._project}/graphql", document, lambda answer: parse(graphql.as_rest(answer, resource))
        )

    def _surveyed(self, answer: Answer) -> Survey:
        page = self._decoded(answer)
        if page.total is None:
            raise answer.invalid("has no total")
        return Survey(answer.date, page.total)

    def _fetched(
        self, answer: Answer, part: Range, after: Cursor | None, asked: int, lines_field: str | None
    ) -> FetchedPage:
        page = self._decoded(answer)
        if page.count != len(page.results):
            raise answer.invalid(f"says {page.count} records and brings {len(page.results)}")
        cursor = _cursor_of(page.results)
        last = len(page.results) < asked or _reaches_end(cursor, part)
        if cursor is None and not last:
            raise answer.invalid("brings no record with an id and an instant to read on from")
        if after and cursor and not _is_past(cursor, after, part.axis):
            raise answer.invalid(f"brings nothing past {after.id}: the page before it again")
        lines = _count_lines(answer.body, lines_field) if lines_field else 0
        return FetchedPage(body=answer.body, records=len(page.results), cursor=cursor, last=last, lines=lines)

    def _decoded(self, answer: Answer) -> _PageStub:
        try:
            return _decode_stub(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            lenient = _leniently(answer.body)
            if lenient is None:
                raise answer.invalid(f"is not a page of results: {error}") from error
            return lenient


def _for_tokens(conditions: Conditions, limits: Limits | None) -> Conditions:
    """
    Those of the token host: one attempt, and no turn or breaker of its own.

    A token is fetched within a call that is tried again as a whole, and retries must not multiply; its failure is
    that call's, for which the breaker counts it.
    """
    once = msgspec.structs.replace(limits or conditions.limits, attempts=1)
    return msgspec.structs.replace(conditions, limits=once, safeguards=Safeguards(), budget=None)


def _other_host(system: str, url: str, conditions: Conditions, options: dict[str, Any]) -> Fallback:
    """Asks *url* instead; it is another host, so the breaker of the first says nothing of it."""
    guards = msgspec.structs.replace(conditions.safeguards, breaker=None)
    other = HttpClient(system, url, conditions=msgspec.structs.replace(conditions, safeguards=guards), **options)
    return lambda path, query: other.get(path, query, lambda answer: answer)


def _leniently(body: bytes) -> _PageStub | None:
    """A page with a NaN in one record is still a page: that record goes to quarantine, not the whole run."""
    try:
        return msgspec.convert(json.loads(body), _PageStub)
    except (ValueError, RecursionError):
        return None


class _Line(msgspec.Struct):
    """Nothing of a line but that it is there."""


@cache
def _lines_decoder(lines_field: str) -> Callable[[bytes], Any]:
    record = msgspec.defstruct("Record", [(lines_field, list[_Line], msgspec.field(default_factory=list))])
    return msgspec.json.Decoder(msgspec.defstruct("Lines", [("results", list[record])])).decode  # type: ignore[valid-type]


def _count_lines(body: bytes, lines_field: str) -> int:
    try:
        return sum(len(getattr(record, lines_field)) for record in _lines_decoder(lines_field)(body).results)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        lists = (record.get(lines_field) for record in json.loads(body)["results"] if isinstance(record, dict))
        return sum(len(lines) for lines in lists if isinstance(lines, list))


def _cursor_of(stubs: list[_Stub]) -> Cursor | None:
    for stub in reversed(stubs):
        if stub.id and isinstance(stub.id, str) and isinstance(stub.last_modified_at, str):
            try:
                return Cursor(from_utc_text(stub.last_modified_at), stub.id)
            except (ValueError, OverflowError):
                continue
    return None


def _is_past(cursor: Cursor, after: Cursor, axis: Axis) -> bool:
    return cursor > after if axis is Axis.TIME else cursor.id > after.id


def _reaches_end(cursor: Cursor | None, part: Range) -> bool:
    if cursor is None or part.high is None:
        return False
    if part.axis is Axis.TIME:
        return cursor.at >= from_utc_text(part.high)
    return part.axis is Axis.ID and cursor.id >= part.high
