"""Where a declared system's next page begins. Pure: an answer in, the next page's place out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from crossdock.connectors.declarative.model import Paging

#: `<https://…>; rel="next"` (RFC 8288).
_NEXT_LINK = re.compile(r'<([^<>]*)>\s*;(?:[^,<]*;)?\s*rel="?next"?', re.IGNORECASE)


def sized(paging: Paging, limit: int | None) -> Paging:
    """*paging* with pages of at most *limit* records, where their size neither counts as a place nor cannot be said."""
    if limit is None or not paging.size_parameter or paging.kind not in {"offset", "cursor", "keyset"}:
        return paging
    return msgspec.structs.replace(paging, size=min(paging.size, limit))


def first_query(paging: Paging, limit: int | None = None) -> dict[str, Any]:
    """What is added to the query of the first page; *limit* as in `sized`."""
    paging = sized(paging, limit)
    return _sized(paging, {paging.parameter: paging.first} if paging.kind == "page" else {})


def query_of(paging: Paging, place: str, limit: int | None = None) -> dict[str, Any]:
    """What is added to the query of the page at *place*, as `next_place` gave it; *limit* as in `sized`."""
    paging = sized(paging, limit)
    if paging.kind == "link":
        return dict(parse_qsl(urlsplit(place).query, keep_blank_values=True))
    if paging.kind in {"page", "offset"}:
        # A number: a variable of GraphQL is not what it looks like, but what it is.
        return _sized(paging, {paging.parameter: int(place)})
    value = paging.template.replace("{value}", place) if paging.kind == "keyset" else place
    return _sized(paging, {paging.parameter: value})


def next_place(
    paging: Paging, place: str | None, answer: Any, records: Sequence[Any], headers: Mapping[str, str]
) -> str | None:
    """
    Where the page after this one begins; None when this was the last.

    A page with fewer records than were asked for is the last, where a number counts or a keyset goes on; cursors and
    links end when the answer has no further one.
    """
    match paging.kind:
        case "cursor":
            return _text(_searched(paging.next, answer))
        case "link":
            return _text(_searched(paging.next, answer)) if paging.next else _linked(headers)
    if paging.kind == "none" or len(records) < (paging.size if paging.size_parameter else 1):
        return None
    match paging.kind:
        case "page":
            return str(int(place or paging.first) + 1)
        case "offset":
            return str(int(place or 0) + len(records))
    return _text(_searched(paging.value, records[-1]))


def _sized(paging: Paging, query: dict[str, Any]) -> dict[str, Any]:
    return {**query, paging.size_parameter: paging.size} if paging.size_parameter else query


def _linked(headers: Mapping[str, str]) -> str | None:
    found = _NEXT_LINK.search(headers.get("Link", ""))
    return found[1] if found else None


def _searched(expression: str, document: Any) -> Any:
    import jmespath  # type: ignore[import-untyped]  # noqa: PLC0415  asked for where there is a declaration

    return jmespath.search(expression, document)


def _text(value: Any) -> str | None:
    return None if value in (None, "", False) else str(value)
