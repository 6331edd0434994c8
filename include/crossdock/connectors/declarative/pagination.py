"""Pagination of a declared system: compute from a response where the next page begins. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from crossdock.connectors.declarative.model import Paging

#: `<https://…>; rel="next"` (RFC 8288).
_NEXT_LINK = re.compile(r'<([^<>]*)>\s*;(?:[^,<]*;)?\s*rel="?next"?', re.IGNORECASE)


def limit_page_size(paging: Paging, limit: int | None) -> Paging:
    """Limit pages to *limit* records, unless the system has no size parameter or the size determines the position."""
    if limit is None or not paging.size_parameter or paging.kind not in {"offset", "cursor", "keyset"}:
        return paging
    return msgspec.structs.replace(paging, size=min(paging.size, limit))


def first_page_query(paging: Paging, limit: int | None = None) -> dict[str, Any]:
    """Build the query parameters of the first page; *limit* as in `limit_page_size`."""
    paging = limit_page_size(paging, limit)
    return _with_size(paging, {paging.parameter: paging.first} if paging.kind == "page" else {})


def page_query(paging: Paging, position: str, limit: int | None = None) -> dict[str, Any]:
    """Build the query parameters of the page at *position* (from `next_position`); *limit* as in `limit_page_size`."""
    paging = limit_page_size(paging, limit)
    if paging.kind == "link":
        return dict(parse_qsl(urlsplit(position).query, keep_blank_values=True))
    if paging.kind in {"page", "offset"}:
        # A number, not text: a GraphQL variable is typed.
        return _with_size(paging, {paging.parameter: int(position)})
    value = paging.template.replace("{value}", position) if paging.kind == "keyset" else position
    return _with_size(paging, {paging.parameter: value})


def next_position(
    paging: Paging, position: str | None, response: Any, records: Sequence[Any], headers: Mapping[str, str]
) -> str | None:
    """
    Compute where the next page begins; None if this page was the last.

    With page, offset and keyset, a page with fewer records than requested is the last. Cursors and links end when the
    response contains no further one.
    """
    match paging.kind:
        case "cursor":
            return _text(_search(paging.next, response))
        case "link":
            return _text(_search(paging.next, response)) if paging.next else _next_link(headers)
    if paging.kind == "none" or len(records) < (paging.size if paging.size_parameter else 1):
        return None
    match paging.kind:
        case "page":
            return str(int(position or paging.first) + 1)
        case "offset":
            return str(int(position or 0) + len(records))
    return _text(_search(paging.value, records[-1]))


def _with_size(paging: Paging, query: dict[str, Any]) -> dict[str, Any]:
    return {**query, paging.size_parameter: paging.size} if paging.size_parameter else query


def _next_link(headers: Mapping[str, str]) -> str | None:
    found = _NEXT_LINK.search(headers.get("Link", ""))
    return found[1] if found else None


def _search(expression: str, document: Any) -> Any:
    import jmespath  # type: ignore[import-untyped]  # noqa: PLC0415  needed only with declarations

    return jmespath.search(expression, document)


def _text(value: Any) -> str | None:
    return None if value in (None, "", False) else str(value)
