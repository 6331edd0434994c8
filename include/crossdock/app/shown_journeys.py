"""Personal data in journeys: one rule for the route and the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from crossdock.app import personal_data
from crossdock.app.journey_repository import Entry
from crossdock.app.journeys import Journey, Subject
from crossdock.app.personal_data import MASK, Fields
from crossdock.core.roles import Caller
from crossdock.db.database import Store

_NOTHING: Fields = frozenset()
#: Kind of entry → what is personal in its detail. Of an event, its type says it.
_PERSONAL: dict[str, Fields] = {
    "order": frozenset({"email", "customer_name"}),
    "mail": frozenset({"recipient"}),
    "act": frozenset({"reason"}),
}
#: The kinds whose message another system or a person may have put somebody's data into.
_QUOTING = frozenset({"run"})
#: The kinds whose message, such as why a card was declined, says nothing of the amount.
_WITH_BOTH = frozenset({"order", "call", "fact", "mail"})
#: So much is said in a line; `detail` has all.
_CHARACTERS = 200


def reveal(store: Store, caller: Caller, found: Journey, *, order: Mapping[str, Any] | None = None) -> bool:
    """
    Decide whether *caller* sees whose journey it is. The audit trail names an order by its ID and no customer by an address.

    *order* is the customer of the order, where it stands beside the entries: an entry with it may be on another page.
    """
    named = found.order_id or next((entry.ref for entry in found.entries if entry.ref), "")
    with_person = [entry for entry in found.entries if _fields(found, entry) != _NOTHING]
    return personal_data.reveal(
        store,
        caller,
        f"journey/{found.subject}/{named}" if found.subject is not Subject.SKU else f"journey/{found.subject}",
        [*([order] if order else []), *(entry.detail for entry in with_person)],
        _union([*([_PERSONAL["order"]] if order else []), *(_fields(found, entry) for entry in with_person)]),
    )


def _union(each: Sequence[Fields]) -> Fields:
    if any(fields is None for fields in each):
        return None
    return frozenset().union(*(fields for fields in each if fields))


def _fields(found: Journey, entry: Entry) -> Fields:
    if entry.kind == "mapping" and found.subject is Subject.EXECUTION:
        # What the actions of a workflow put out may be about anybody.
        return None
    if entry.kind == "event":
        return personal_data.fields_of_data(entry.name, entry.detail)
    return _PERSONAL.get(entry.kind, _NOTHING)


def in_a_line(entry: Entry) -> str:
    """
    Say in a line what is known of *entry*: its message, and its detail where there is no message or the two are about two things.

    Of an entry as `shown` represents it: nothing is masked here.
    """
    if entry.message and entry.kind not in _WITH_BOTH:
        return entry.message
    known = {name: value for name, value in entry.detail.items() if value not in (None, "", [], {})}
    detail = ", ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in known.items()
    )
    text = f"{entry.message}; {detail}" if entry.message and detail else entry.message or detail
    return text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "…"


def shown(found: Journey, entry: Entry, *, is_revealed: bool) -> Entry:
    """Represent *entry* of a journey with its personal data masked, unless they are revealed."""
    if is_revealed:
        return entry
    quotes = entry.kind in _QUOTING and found.subject is not Subject.SKU
    message = MASK if entry.message and quotes else entry.message
    return msgspec.structs.replace(
        entry, message=message, detail=personal_data.masked(entry.detail, _fields(found, entry))
    )
