"""
The one rule for personal data on all routes and pages.

A list masks it for everybody. A route for one record shows it to an operator or administrator and records that in the audit trail;
everybody else gets it masked. Answers to changes are masked as well, so that none is kept with an idempotency key.

What is personal, each dataset declares (`sync.dataset.Personal`). Where its key is personal, such as a customer's e-mail address,
the key is masked too, wherever it stands: an event's partition key, a quarantine item, the keys of a run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from crossdock.app.event_types import declared_types
from crossdock.app.streams import all_datasets
from crossdock.core.roles import Caller, Role
from crossdock.core.storable import storable
from crossdock.db.database import Store, Work
from crossdock.events.model import WEBHOOK_HANDSHAKE, WEBHOOK_IGNORED, WEBHOOK_RECEIVED, Event
from crossdock.observability import audit
from crossdock.observability.alerts import without_addresses
from crossdock.sync.dataset import Record, Schema
from crossdock.sync.quarantine.model import Failure
from crossdock.sync.quarantine.repository import Item

MASK = "***"

#: Names of personal fields. None: unknown, so that all is masked.
Fields = frozenset[str] | None

_NOTHING: frozenset[str] = frozenset()
#: Of a record as its source sent it. Sources have names of their own, and send more than a dataset takes: a stock level may name
#: who counted.
OF_SOURCE: Fields = None
#: As another system sent it; the address holds the sender's token.
_OF_WEBHOOK = frozenset({"body", "confirm_url"})
#: What people write in their own words about a record: it may name a customer. It is in the audit trail alone; elsewhere
#: stands who decided, and when.
_OF_AUDIT_DETAIL = frozenset({"reason"})
#: Shown of records whose personal fields are not known.
_NEVER_PERSONAL = frozenset({"id", "version", "integration", "dataset"})
#: Where a record's own ID is its personal key.
_ID: Fields = frozenset({"id"})
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@cache
def _datasets() -> Mapping[str, Schema]:
    """Map the name of a dataset to its declaration. One of declared fields says nothing about them, and is left out."""
    return {dataset.name: dataset for dataset in all_datasets() if dataset is not Record.schema}


@cache
def _datasets_by_event() -> Mapping[str, Schema]:
    return {dataset.event_type: dataset for dataset in _datasets().values()}


def fields_of(dataset: str) -> Fields:
    """Name the personal fields of the records of *dataset*; None where they are not declared."""
    found = _datasets().get(dataset)
    return found.personal_fields if found else None


def fields_of_event(event_type: str) -> Fields:
    """Name the personal fields of the data of *event_type*; None where they are not declared."""
    if event_type in {WEBHOOK_RECEIVED, WEBHOOK_IGNORED, WEBHOOK_HANDSHAKE}:
        return _OF_WEBHOOK
    if declared := declared_types().get(event_type):
        return declared.personal
    found = _datasets_by_event().get(event_type)
    return found.personal_fields if found else None


def has_personal_key(dataset: str) -> bool:
    """Check whether the business key of *dataset* is personal; so is one of which nothing is declared."""
    found = _datasets().get(dataset)
    return found is None or found.key in found.personal_fields


def masked_key(key: str | None, dataset: str) -> str | None:
    """Mask the business key of a record of *dataset* if it is personal."""
    return MASK if key and has_personal_key(dataset) else key


def masked_id(record_id: str, key: str | None, dataset: str) -> str:
    """Mask the ID of a record of *dataset* if it is its business *key*, and personal: a file may know customers by their address."""
    return MASK if key and record_id.casefold() == key.casefold() and has_personal_key(dataset) else record_id


def masked_unknown_id(record_id: str, dataset: str) -> str:
    """Mask the ID of a record of *dataset* whose key is not at hand, unless it cannot be a personal key: a UUID names nobody."""
    found = _datasets().get(dataset)
    # A key that is an address has an @. Of a dataset that declares nothing, any ID may be the key.
    names_nobody = _UUID.fullmatch(record_id) or (found is not None and found.key == "email" and "@" not in record_id)
    return MASK if has_personal_key(dataset) and not names_nobody else record_id


def masked_keys(keys: Sequence[str], dataset: str) -> list[str]:
    """Mask the keys that a run of *dataset* was asked for if they are personal; each once, so that their number says how many."""
    return [MASK if has_personal_key(dataset) else key for key in dict.fromkeys(keys)]


def may_see(caller: Caller) -> bool:
    """Check whether personal data is shown to *caller*, one record at a time."""
    return Role.OPERATOR in caller.roles


def masked(value: Any, fields: Fields) -> Any:
    """Replace each personal field of *value*, at any depth, by MASK; empty ones stay empty."""
    if fields is None:
        return _all_masked(value)
    if isinstance(value, dict):
        return {
            name: MASK if name in fields and inner not in (None, "") else masked(inner, fields)
            for name, inner in value.items()
        }
    return [masked(inner, fields) for inner in value] if isinstance(value, list) else value


def _all_masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: inner if name in _NEVER_PERSONAL else _all_masked(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_all_masked(inner) for inner in value]
    return value if value is None or isinstance(value, bool) else MASK


def fields_of_data(event_type: str, data: Mapping[str, Any]) -> Fields:
    """Name the personal fields of the *data* of one event: of a webhook about a person, its key, too."""
    if event_type == WEBHOOK_RECEIVED and _has_personal_key(event_type, data):
        return _OF_WEBHOOK | {"key"}
    return fields_of_event(event_type)


def masked_event(event: Event) -> Event:
    """Mask the data of *event*, and its keys where they are personal."""
    fields = fields_of_event(event.type)
    if fields == _NOTHING:
        return event
    data = json.loads(event.data)
    if not _has_personal_key(event.type, data):
        return msgspec.structs.replace(event, data=json.dumps(masked(data, fields)))
    if event.type != WEBHOOK_RECEIVED:
        data, subject = masked(data, fields), _masked_subject(event.subject, event.partition_key)
        if subject != event.subject and isinstance(data, dict):
            data |= {"id": MASK} if "id" in data else {}
        return msgspec.structs.replace(event, data=json.dumps(data), partition_key=MASK, subject=subject)
    data = json.dumps(masked(data, fields_of_data(event.type, data)))
    return msgspec.structs.replace(event, data=data, partition_key=MASK, subject=MASK)


def _masked_subject(subject: str | None, key: str) -> str | None:
    """Mask the subject of an event, such as `customers/c-1`, if the ID in it is the personal *key*."""
    return MASK if key and subject and subject.partition("/")[2].casefold() == key.casefold() else subject


def _has_personal_key(event_type: str, data: Any) -> bool:
    """Check whether an event is about a record whose key is personal. A webhook's data says of which dataset it is."""
    if event_type == WEBHOOK_RECEIVED:
        return has_personal_key(str(data.get("dataset")))
    if event_type in {WEBHOOK_IGNORED, WEBHOOK_HANDSHAKE}:
        return False
    if declared := declared_types().get(event_type):
        return declared.key in declared.personal
    dataset = _datasets_by_event().get(event_type)
    return dataset is None or dataset.key in dataset.personal_fields


def without_values(text: str | None, value: Any, fields: Fields) -> str | None:
    """Mask the personal values of *value* where *text*, such as the reason of a failure, quotes them."""
    if text is None:
        return None
    for quoted in sorted(set(_values(value, fields)), key=len, reverse=True):
        text = text.replace(quoted, MASK)
    return text


def masked_reason(reason: str, fields: Fields, texts: Sequence[str] | None = None) -> str:
    """
    Mask the *reason* of a failure in a list.

    Args:
        reason: What went wrong; it may quote a value of the event.
        fields: The personal fields of the event.
        texts: The data of the event, JSON texts. None where they were not read: all of the reason is masked then.

    """
    if fields == _NOTHING:
        return reason
    if texts is None:
        return MASK
    # A system may answer with an address that it wrote in its own way.
    return without_addresses(without_values(reason, [json.loads(text) for text in texts], fields) or "")


def masked_failure_value(value: str, columns: str | None, dataset: str) -> str:
    """
    Mask the value that failed a rule, unless all of *columns* are declared by *dataset*, and none of them is personal.

    *columns* are names, separated by commas; of a record that could not be mapped, a place in it, of which nothing is known.
    """
    declared, names = _datasets().get(dataset), frozenset(columns.split(", ") if columns else ())
    known = {field.name for field in declared.fields} - declared.personal_fields if declared else frozenset[str]()
    return value if not value or (names and names <= known) else MASK


def masked_failures(failures: Sequence[Failure], dataset: str) -> tuple[Failure, ...]:
    """Mask the values of *failures* of a record of *dataset* that are personal."""
    return tuple(
        msgspec.structs.replace(failure, value=masked_failure_value(failure.value, failure.column, dataset))
        for failure in failures
    )


def masked_item(item: Item) -> Item:
    """Mask the personal data of an item of the quarantine, its record included."""
    record_id = masked_id(item.record_id, item.record_key, item.dataset)
    raw, edited = (
        None if of is None else json.dumps(masked_received(storable(json.loads(of)), item)).encode()
        for of in (item.raw, item.edited)
    )
    return msgspec.structs.replace(
        item,
        record_id=record_id,
        record_key=masked_key(item.record_key, item.dataset),
        failures=masked_failures(item.failures, item.dataset),
        raw=raw or b"",
        edited=edited,
    )


def masked_received(document: Any, item: Item) -> Any:
    """Mask the record of *item* as its source sent it: all but its ID and version, and its ID too where that is personal."""
    if not isinstance(document, dict):
        return _all_masked(document)
    shown = {"version"} if masked_id(item.record_id, item.record_key, item.dataset) == MASK else {"id", "version"}
    return {
        name: value if name in shown and isinstance(value, str | int) else _leaves_masked(value)
        for name, value in document.items()
    }


def _leaves_masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _leaves_masked(inner) for name, inner in value.items()}
    return [_leaves_masked(inner) for inner in value] if isinstance(value, list) else _all_masked(value)


def masked_mapped(mapped: Mapping[str, Any], item: Item) -> dict[str, Any]:
    """Mask the record of *item* as it was mapped to columns: its ID, too, where that is its personal key."""
    is_key = masked_id(item.record_id, item.record_key, item.dataset) == MASK
    found = masked(mapped, fields_of(item.dataset))
    return dict(masked(found, _ID) if is_key else found)


@cache
def _names_of_persons() -> frozenset[str]:
    """Name the fields that any dataset declares as personal."""
    return frozenset[str]().union(*(dataset.personal_fields for dataset in _datasets().values()))


def masked_shows(shows: Mapping[str, Any]) -> dict[str, Any]:
    """
    Mask what a decision shows of a person.

    Personal is what has the name of a field that a dataset declares as personal, and every address, which has an @.
    """
    return dict(_without_addresses(masked(dict(shows), _names_of_persons())))


def _without_addresses(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_addresses(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_addresses(inner) for inner in value]
    return MASK if isinstance(value, str) and "@" in value else value


def revealed_shows(store: Store, caller: Caller, decision_id: int, shows: Mapping[str, Any]) -> dict[str, Any]:
    """Show *caller* what one decision shows of a person, and record it in the audit trail, or mask it."""
    of_all = masked_shows(shows)
    personal = {name: value for name, value in shows.items() if of_all[name] != value}
    return dict(shows) if reveal(store, caller, f"decisions/{decision_id}", personal, frozenset(personal)) else of_all


def masked_detail(detail: dict[str, Any], caller: Caller) -> dict[str, Any]:
    """Mask what people wrote in their own words in an entry of the audit trail, unless *caller* may see it."""
    return detail if may_see(caller) else dict(masked(detail, _OF_AUDIT_DETAIL))


def reveal(store: Store, caller: Caller, subject: str, shown: Any, fields: Fields) -> bool:
    """
    Decide whether *caller* sees the personal data of one record, and record it in the audit trail if so.

    Args:
        store: The hub's database.
        caller: Who asks.
        subject: What the audit trail calls the record.
        shown: The record as it is; without personal data there is nothing to record.
        fields: Its personal fields.

    """
    if not may_see(caller):
        return False
    if found := sorted(set(_present(shown, fields))):
        with store.transaction() as work:
            _record(work, caller, subject, found)
    return True


def _record(work: Work, caller: Caller, subject: str, found: list[str]) -> None:
    audit.add(work, actor=caller.actor, act="personal_data.reveal", subject=subject, detail={"fields": found})


def _present(value: Any, fields: Fields) -> Iterator[str]:
    """Name the personal fields of *value* that have a value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            is_personal = name not in _NEVER_PERSONAL if fields is None else name in fields
            if is_personal and inner not in (None, "", [], {}):
                yield name
            elif not is_personal:
                yield from _present(inner, fields)
    elif isinstance(value, list):
        for inner in value:
            yield from _present(inner, fields)


def _values(value: Any, fields: Fields, *, is_personal: bool = False) -> Iterator[str]:
    """List the personal values of *value* as text, without those too short to mean somebody."""
    if isinstance(value, dict):
        for name, inner in value.items():
            named = name not in _NEVER_PERSONAL if fields is None else name in fields
            yield from _values(inner, fields, is_personal=is_personal or named)
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, fields, is_personal=is_personal)
    elif is_personal and value is not None and not isinstance(value, bool) and len(str(value)) > 2:  # noqa: PLR2004
        yield str(value)
