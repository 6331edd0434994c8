"""Parse a page of records: its record count and the cursor of the next page. `validate` decodes the records later."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec

from crossdock.core.decoding import prepare
from crossdock.core.instants import from_utc_text
from crossdock.http.response import HttpResponse
from crossdock.sync.source import Axis, Cursor, FetchedPage, Range, SourceDescription


class _Stub(msgspec.Struct, rename="camel", gc=False):
    """
    The fields that order a page. The other fields of a record are decoded later, in `validate`.

    They may have any type: one invalid record goes to quarantine, not the whole page.
    """

    id: Any = None
    last_modified_at: Any = None


class _PageStub(msgspec.Struct, gc=False):
    # gc=False: the garbage collector would visit every record of every page, a fifth of the time.
    count: int
    results: list[_Stub]
    total: int | None = None
    #: The limit that was applied, over REST; a server or a proxy that allows fewer than requested says so here.
    limit: int | None = None


class _Line(msgspec.Struct, gc=False):
    """A line; its fields are not decoded, because only the number of lines counts."""


prepare(_Line, _PageStub)
_decode_stub = msgspec.json.Decoder(_PageStub).decode


@cache
def _decode_with_lines(lines_fields: tuple[str, ...]) -> Callable[[bytes], Any]:
    """Build a decoder that also counts the lines of each record, in one pass over the page."""
    lines: list[tuple[str, Any, Any]] = [
        (f"lines_{number}", list[_Line], msgspec.field(name=name, default_factory=list))
        for number, name in enumerate(lines_fields)
    ]
    record = msgspec.defstruct("Record", lines, bases=(_Stub,), gc=False)
    page = msgspec.defstruct("Page", [("results", list[record])], bases=(_PageStub,), kw_only=True)  # type: ignore[valid-type]
    return msgspec.json.Decoder(page).decode


def description_of(response: HttpResponse) -> SourceDescription:
    """Read the total, the server's clock and the date of the newest record from a response to a query with `withTotal`."""
    page, _ = _decoded(response)
    if page.total is None:
        raise response.invalid("has no total")
    newest = _cursor_of(page.results)
    return SourceDescription(response.date, page.total, newest.at if newest else None)


def page_of(
    response: HttpResponse, part: Range, after: Cursor | None, *, requested: int, lines_fields: tuple[str, ...]
) -> FetchedPage:
    """
    Parse the response to a request for *requested* records of *part* after *after*.

    Raises:
        SourceInvalid: it is not a page, or not the requested one.

    """
    page, lines = _decoded(response, lines_fields)
    if page.count != len(page.results):
        raise response.invalid(f"announces {page.count} records but contains {len(page.results)}")
    cursor = _cursor_of(page.results)
    last = len(page.results) < min(requested, page.limit or requested) or _reaches_end(cursor, part)
    if cursor is None and not last:
        raise response.invalid("contains no record with an id and a lastModifiedAt to continue from")
    if after and cursor and not _is_past(cursor, after, part.axis):
        raise response.invalid(f"contains nothing past {after.id}: it repeats the previous page")
    return FetchedPage(body=response.body, records=len(page.results), cursor=cursor, last=last, lines=lines)


def _decoded(response: HttpResponse, lines_fields: tuple[str, ...] = ()) -> tuple[_PageStub, int]:
    """Decode the page and count the lines of its records."""
    try:
        if not lines_fields:
            return _decode_stub(response.body), 0
        page = _decode_with_lines(lines_fields)(response.body)
        names = [f"lines_{number}" for number in range(len(lines_fields))]
        return page, sum(len(getattr(record, name)) for record in page.results for name in names)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        lenient = _decode_leniently(response.body, lines_fields)
        if lenient is None:
            raise response.invalid(f"is not a page of results: {error}") from error
        return lenient


def _decode_leniently(body: bytes, lines_fields: tuple[str, ...]) -> tuple[_PageStub, int] | None:
    """Decode a page with a NaN in one record: that record goes to quarantine, and the run continues."""
    try:
        document = json.loads(body)
        page = msgspec.convert(document, _PageStub)
    except (ValueError, RecursionError):
        return None
    lists = (record.get(name) for record in document["results"] for name in lines_fields)
    return page, sum(len(lines) for lines in lists if isinstance(lines, list))


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
