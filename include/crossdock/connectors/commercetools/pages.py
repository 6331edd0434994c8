"""A page of records as it came: how many it has, and where to read on. Its records are decoded later."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec

from crossdock.core.instants import from_utc_text
from crossdock.http.response import Answer
from crossdock.sync.source import Axis, Cursor, FetchedPage, Range, SourceDescription


class _Stub(msgspec.Struct, rename="camel", gc=False):
    """
    What a page is ordered by. Everything else of a record is skipped here and decoded once, in `validate`.

    Of any type: a record in which one of them is wrong goes to quarantine, not the whole page.
    """

    id: Any = None
    last_modified_at: Any = None


class _PageStub(msgspec.Struct, gc=False):
    # Not kept from Python's collector for nothing: it would look at every record of every page, a fifth of the time.
    count: int
    results: list[_Stub]
    total: int | None = None


class _Line(msgspec.Struct, gc=False):
    """Nothing of a line but that it is there."""


_decode_stub = msgspec.json.Decoder(_PageStub).decode


@cache
def _decode_with_lines(lines_field: str) -> Callable[[bytes], Any]:
    """The same with the lines of each record, in one pass over the page."""
    lines: tuple[str, Any, Any] = ("lines", list[_Line], msgspec.field(name=lines_field, default_factory=list))
    record = msgspec.defstruct("Record", [lines], bases=(_Stub,), gc=False)
    page = msgspec.defstruct("Page", [("results", list[record])], bases=(_PageStub,), kw_only=True)  # type: ignore[valid-type]
    return msgspec.json.Decoder(page).decode


def described(answer: Answer) -> SourceDescription:
    """What *answer*, which was asked for a total, says of the source."""
    page, _ = _decoded(answer)
    if page.total is None:
        raise answer.invalid("has no total")
    return SourceDescription(answer.date, page.total)


def fetched(answer: Answer, part: Range, after: Cursor | None, *, asked: int, lines_field: str | None) -> FetchedPage:
    """
    The page in *answer*, for which *asked* records of *part* after *after* were asked.

    Raises:
        SourceInvalid: it is no page, or not that one.

    """
    page, lines = _decoded(answer, lines_field)
    if page.count != len(page.results):
        raise answer.invalid(f"says {page.count} records and brings {len(page.results)}")
    cursor = _cursor_of(page.results)
    last = len(page.results) < asked or _reaches_end(cursor, part)
    if cursor is None and not last:
        raise answer.invalid("brings no record with an id and an instant to read on from")
    if after and cursor and not _is_past(cursor, after, part.axis):
        raise answer.invalid(f"brings nothing past {after.id}: the page before it again")
    return FetchedPage(body=answer.body, records=len(page.results), cursor=cursor, last=last, lines=lines)


def _decoded(answer: Answer, lines_field: str | None = None) -> tuple[_PageStub, int]:
    """The page and how many lines its records have."""
    try:
        if lines_field is None:
            return _decode_stub(answer.body), 0
        page = _decode_with_lines(lines_field)(answer.body)
        return page, sum(len(record.lines) for record in page.results)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        lenient = _leniently(answer.body, lines_field)
        if lenient is None:
            raise answer.invalid(f"is not a page of results: {error}") from error
        return lenient


def _leniently(body: bytes, lines_field: str | None) -> tuple[_PageStub, int] | None:
    """A page with a NaN in one record is still a page: that record goes to quarantine, not the whole run."""
    try:
        document = json.loads(body)
        page = msgspec.convert(document, _PageStub)
    except (ValueError, RecursionError):
        return None
    lists = (record.get(lines_field) for record in document["results"]) if lines_field else ()
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
