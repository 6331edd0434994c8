"""Questions to the search, and pages of contacts. `validate` decodes the records later."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from crossdock.connectors.hubspot.contacts import EMAIL, names_to_read
from crossdock.core import exact_json
from crossdock.core.instants import from_utc_text
from crossdock.http.response import HttpResponse
from crossdock.sync.source import Cursor, FetchedPage, Range, SourceDescription

_CHANGED_AT, _ID = "lastmodifieddate", "hs_object_id"
#: A position by ID is not a time: this value moves no watermark before the range has been read to its end.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: What an ID has at most: a number of 64 bits.
_ID_DIGITS = 19

Filter = dict[str, str]


def names_to_sync(key_property: str) -> list[str]:
    """Name the properties that a sync reads."""
    return names_to_read(key_property, ())


def question(filters: Sequence[Filter], *, names: Sequence[str], limit: int) -> dict[str, Any]:
    """Build a search for contacts that pass all *filters*, in the order of their IDs."""
    return {
        "filterGroups": [{"filters": list(filters)}] if filters else [],
        "sorts": [{"propertyName": _ID, "direction": "ASCENDING"}],
        "properties": list(names),
        "limit": limit,
        "after": "0",
    }


def newest_first(filters: Sequence[Filter]) -> dict[str, Any]:
    """Build a search for the contact that changed last, and for the number of all that pass *filters*."""
    order = [{"propertyName": _CHANGED_AT, "direction": "DESCENDING"}]
    return {**question(filters, names=(EMAIL, _CHANGED_AT), limit=1), "sorts": order}


def changed_from(since: datetime | None) -> list[Filter]:
    """Filter by the time of the last change."""
    return [_filter(_CHANGED_AT, "GTE", _milliseconds(since))] if since else []


def window(part: Range, after_id: str | None) -> list[Filter]:
    """
    Filter by the window of *part* and the ID of the last contact that was read.

    A contact that changes while pages are read leaves the window: the next run reads it. It cannot push another one out of
    sight, because its ID stays.
    """
    low = changed_from(from_utc_text(part.low)) if part.low else []
    high = [_filter(_CHANGED_AT, "LT", _milliseconds(from_utc_text(part.high)))] if part.high else []
    return [*low, *high, *([_filter(_ID, "GT", after_id)] if after_id else [])]


def description_of(response: HttpResponse) -> SourceDescription:
    """Read the total, the server's clock and the date of the newest contact from the answer to a search."""
    document = _document(response)
    total = document.get("total")
    if not isinstance(total, int):
        raise response.invalid("has no total")
    dates = [_changed_at(record) for record in _records(response, document)]
    return SourceDescription(response.date, total, max(filter(None, dates), default=None))


def _changed_at(record: Any) -> datetime | None:
    """Read the time of the last change; None if the record does not say: validation says why."""
    properties = record.get("properties") if isinstance(record, dict) else None
    text = properties.get(_CHANGED_AT) if isinstance(properties, dict) else None
    try:
        return from_utc_text(text) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


def listed(response: HttpResponse, after_id: str | None, key_property: str) -> FetchedPage:
    """Parse a page of the list; it names the next one, if there is one."""
    document = _document(response)
    paging = document.get("paging")
    has_next = isinstance(paging, dict) and bool(paging.get("next"))
    return _page(response, _records(response, document), after_id, key_property, last=not has_next)


def found(response: HttpResponse, after_id: str | None, key_property: str, *, most: int) -> FetchedPage:
    """Parse the answer to a search for *most* contacts; one with fewer is the last."""
    records = _records(response, _document(response))
    return _page(response, records, after_id, key_property, last=len(records) < most)


def named(response: HttpResponse, key_property: str, *, done: int, all_keys: int) -> FetchedPage:
    """Parse the answer to a batch. Contacts that do not exist are missing from it."""
    records = [_with_identity(record, key_property) for record in _records(response, _document(response))]
    body = exact_json.encode({"results": records})
    return FetchedPage(body=body, records=len(records), cursor=Cursor(_EPOCH, str(done)), last=done >= all_keys)


def _page(
    response: HttpResponse, records: list[Any], after_id: str | None, key_property: str, *, last: bool
) -> FetchedPage:
    ids = [_number(record) for record in records]
    known = [number for number in ids if number is not None]
    if not last and not known:
        raise response.invalid("contains no contact with an id to continue from")
    if after_id and known and min(known) <= int(after_id):
        raise response.invalid(f"contains nothing past {after_id}: it repeats the previous page")
    if known != sorted(known):
        raise response.invalid("is not in the order of the IDs")
    cursor = Cursor(_EPOCH, str(known[-1])) if known else None
    body = exact_json.encode({"results": [_with_identity(record, key_property) for record in records]})
    return FetchedPage(body=body, records=len(records), cursor=cursor, last=last)


def _with_identity(record: Any, key_property: str) -> dict[str, Any]:
    """Add what every step knows a record by: its version, its key, and the address that a run can name."""
    fields = dict(record) if isinstance(record, dict) else {"value": record}
    properties = fields.get("properties")
    values = properties if isinstance(properties, dict) else {}
    own = {"version": _version(fields.get("updatedAt")), "email": values.get(EMAIL), "key": values.get(key_property)}
    return {**fields, **own}


def _version(updated_at: Any) -> int | None:
    """Count the milliseconds of the last change; None if the record does not say, and validation says why."""
    try:
        return round(from_utc_text(updated_at).timestamp() * 1000) if isinstance(updated_at, str) else None
    except (ValueError, OverflowError):
        return None


def _number(record: Any) -> int | None:
    text = record.get("id") if isinstance(record, dict) else None
    is_id = isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= _ID_DIGITS
    return int(str(text)) if is_id else None


def _records(response: HttpResponse, document: dict[str, Any]) -> list[Any]:
    records = document.get("results")
    if not isinstance(records, list):
        raise response.invalid("has no list of results")
    return records


def _document(response: HttpResponse) -> dict[str, Any]:
    try:
        document = exact_json.decode(response.body.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise response.invalid("is not JSON") from error
    if not isinstance(document, dict):
        raise response.invalid("is not an object")
    return document


def _filter(name: str, operator: str, value: str) -> Filter:
    return {"propertyName": name, "operator": operator, "value": value}


def _milliseconds(instant: datetime) -> str:
    # Cut, so that changes within the same millisecond are read too.
    return str(int(instant.timestamp() * 1000))
