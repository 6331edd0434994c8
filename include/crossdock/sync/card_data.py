"""Remove card data from pages before they land, and name the records that had some."""

from __future__ import annotations

import json
import re

from crossdock.core import exact_json
from crossdock.core.card_data import MASK, may_have_card_data, without_card_data
from crossdock.sync.decode import raw_records, rejection
from crossdock.sync.quarantine.model import EXAMPLES, Warned
from crossdock.sync.source import FetchedPage
from crossdock.sync.stream import Stream

#: Of a page that is no JSON, and that no one will read as such: every long number.
_LONG_NUMBER = re.compile(rb"[0-9](?:[ -]?[0-9]){12,}")
_MARK = MASK.encode()


def without_cards(page: FetchedPage) -> bytes:
    """Copy the body of *page* without card data; one without any, as nearly all are, stays byte for byte."""
    body = page.body
    if not may_have_card_data(body):
        return body
    try:
        document = exact_json.decode(body.decode("utf-8-sig", "surrogateescape"))
    except (ValueError, RecursionError):
        return _LONG_NUMBER.sub(_MARK, body)
    masked, places = without_card_data(document)
    # A name that comes twice has a value that the document does not show.
    return exact_json.encode(masked) if places or _repeats_a_name(body) else body


def _repeats_a_name(body: bytes) -> bool:
    repeats = False

    def note(pairs: list[tuple[str, object]]) -> None:
        nonlocal repeats
        repeats = repeats or len(dict(pairs)) < len(pairs)

    json.loads(body.decode("utf-8-sig", "surrogateescape"), strict=False, object_pairs_hook=note, parse_int=str)
    return repeats


def masked_records(stream: Stream, body: bytes) -> list[str]:
    """List the IDs of the records of a landed page from which card data were removed."""
    if _MARK not in body:
        return []
    return [rejection(bytes(raw), (), stream.key_field).record_id for raw in raw_records(body) if _MARK in bytes(raw)]


def warnings_of(ids: list[str]) -> tuple[Warned, ...]:
    """Warn of records from which card data were removed; none if there are none."""
    if not ids:
        return ()
    message = "Card data were removed from the record before it was stored. Delete them at the source"
    return (Warned(rule="has_no_card_data", message=message, records=len(ids), examples=tuple(ids[:EXAMPLES])),)
