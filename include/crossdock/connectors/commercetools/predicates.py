"""Build `where` predicates in commercetools' query language, for keyset pagination."""

from __future__ import annotations

from crossdock.core.errors import BadRequest
from crossdock.core.instants import from_utc_text, utc_text
from crossdock.sync.source import Axis, Cursor, Range


def quoted(text: str) -> str:
    """
    Quote *text* as a string of the query language.

    Raises:
        BadRequest: it contains half a character (a lone surrogate), which no request can carry.

    """
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        raise BadRequest(f"{text!r} contains half a character (a lone surrogate). Use the complete key")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def where(part: Range, after: Cursor | None) -> str | None:
    """Build the predicate for the page of *part* that follows *after*; None for no condition."""
    conditions = {Axis.TIME: _by_time, Axis.ID: _by_id, Axis.KEYS: _by_keys}[part.axis](part, after)
    return " and ".join(conditions) or None


def sort(part: Range) -> list[str]:
    """Choose the order in which the last record of a page is the cursor of the next."""
    return ["lastModifiedAt asc", "id asc"] if part.axis is Axis.TIME else ["id asc"]


def _by_time(part: Range, after: Cursor | None) -> list[str]:
    # The id breaks ties: without it, records with the same timestamp as the page's last one would be lost.
    if after:
        at = quoted(utc_text(after.at))
        low = f"(lastModifiedAt > {at} or (lastModifiedAt = {at} and id > {quoted(after.id)}))"
        return [low, *_below(part), *_within(part)]
    return [*([f"lastModifiedAt >= {_instant(part.low)}"] if part.low else []), *_below(part), *_within(part)]


def _below(part: Range) -> list[str]:
    return [f"lastModifiedAt < {_instant(part.high)}"] if part.high else []


def _within(part: Range) -> list[str]:
    return [
        *([f"id > {quoted(part.id_low)}"] if part.id_low else []),
        *([f"id <= {quoted(part.id_high)}"] if part.id_high else []),
    ]


def _by_id(part: Range, after: Cursor | None) -> list[str]:
    low = after.id if after else part.low
    return [
        *([f"id > {quoted(low)}"] if low else []),
        *([f"id <= {quoted(part.high)}"] if part.high else []),
    ]


def _by_keys(part: Range, after: Cursor | None) -> list[str]:
    keys = ", ".join(quoted(key) for key in part.keys)
    return [f"{part.field} in ({keys})", *([f"id > {quoted(after.id)}"] if after else [])]


def _instant(text: str) -> str:
    return quoted(utc_text(from_utc_text(text)))
