"""Rules shared by the triage of dead letters and of quarantine: one way to select, a reason, no typing mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

import msgspec

from crossdock.core.errors import BadRequest
from crossdock.core.printable import printable_json
from crossdock.core.storable import storable
from crossdock.db.database import Store, Work

#: Closed in one transaction; more take several.
_SLICE = 500
#: The similarity above which one name is taken for a misspelling of the other: `quantiy`, but not `streetNumber` for
#: `streetName`.
_MISSPELLED = 0.85
#: Of a value in a message.
_SHOWN_CHARACTERS = 40


class Discarded(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a request to discard many."""

    #: How many were selected.
    chosen: int
    #: The ids of the items that were closed; another user may have closed the others first.
    closed: tuple[int, ...] = ()


def refuse_unclear(numbers: Sequence[int], *, cause: str | None, everything: bool) -> None:
    """
    Refuse a selection that is not made in exactly one way.

    Raises:
        BadRequest: no way or several ways to select were used.

    """
    if sum((bool(numbers), cause is not None, everything)) != 1:
        raise BadRequest("Select in exactly one way: by id, by cause, or all")


def refuse_no_reason(reason: str) -> None:
    """
    Refuse a blank *reason*.

    Raises:
        BadRequest: it is blank.

    """
    if not reason.strip():
        raise BadRequest("Give a reason why it is not wanted; it is stored in the audit trail")


#: Discarded by one request or one action of a page: it holds back every event until it ends.
MOST_DISCARDED = 1_000


def discard_in_slices(
    store: Store,
    numbers: Sequence[int],
    reason: str,
    close: Callable[[Work, Sequence[int]], Sequence[int]],
) -> Discarded:
    """
    Close *numbers*, one transaction for each slice.

    *close* returns the numbers of a slice that it closed. The ids are in ascending order: two requests that lock the same
    rows in two orders deadlock. Within a transaction of the caller, the slices are parts of it.

    Raises:
        BadRequest: the reason is missing.

    """
    refuse_no_reason(reason)
    ordered, closed = sorted(numbers), list[int]()
    for start in range(0, len(ordered), _SLICE):
        with store.transaction() as work:
            closed += close(work, ordered[start : start + _SLICE])
    return Discarded(chosen=len(ordered), closed=tuple(closed))


def set_field(record: Any, field: str, value: Any) -> None:
    """
    Set the dotted *field* of *record* to *value*.

    Raises:
        BadRequest: a value on the way to the field is not an object.

    """
    *path, last = field.split(".")
    target = record
    for depth, step in enumerate(path, start=1):
        target = target.setdefault(step, {}) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            raise BadRequest(f"Cannot set {field!r}: {'.'.join(path[:depth])!r} is not an object")
    if not isinstance(target, dict):
        raise BadRequest(f"Cannot set {field!r}: the record is not an object")
    target[last] = value


#: The fields that an error lists; a document may have hundreds.
_MOST_LISTED = 30


def known_fields(came: Any, of: Any, known: Collection[str]) -> list[str]:
    """List the fields that an edit may set: those of the record as it *came* first, as its source orders them."""
    own = list(came) if isinstance(came, Mapping) else []
    return [*own, *sorted({*known, *_fields(of)} - {*own})]


def refuse_unknown_fields(
    edited: Mapping[str, Any],
    came: Any,
    of: Any,
    known: Collection[str],
    *,
    what: str,
    sources: Mapping[str, Collection[str]] = MappingProxyType({}),
    shows_values: bool = False,
) -> None:
    """
    Refuse an edit that has a field which neither the record as it *came* nor its type knows.

    Within nested objects only a misspelling of a known name is refused: no contract lists all that they may have.

    Args:
        edited: The record as a person wants it.
        came: The record as it came; its fields are known.
        of: Its type (`msgspec.inspect`), or None.
        known: Further names that the contract promises.
        what: What such records are called in the message.
        sources: Column of the hub → the fields that it comes from; people know both.
        shows_values: Whether the message may have the values of the record as it came: not where they may be personal.

    Raises:
        BadRequest: an unknown field: a typing mistake would look like a fix. The message names the nearest field, and lists all.

    """
    names = known_fields(came, of, known)
    for name in edited:
        if names and name not in names:
            near = sorted(sources.get(name, ())) or get_close_matches(name, sorted(names), n=3)
            meant = f" Did you mean {' or '.join(near)}?" if near else ""
            listed = [_received(one, came, shows_values=shows_values) for one in names[:_MOST_LISTED]]
            more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
            raise BadRequest(f"{name!r} is not a field of {what}.{meant} Fields: {', '.join(listed)}{more}")
    _refuse_misspelled(edited, came, of, what, path="")


def _refuse_misspelled(edited: Mapping[str, Any], came: Any, of: Any, what: str, *, path: str) -> None:
    before, types = came if isinstance(came, Mapping) else {}, _fields(of)
    for name, value in edited.items():
        if path and name not in {*before, *types}:
            near = get_close_matches(name, sorted({*before, *types}), n=1, cutoff=_MISSPELLED)
            if near:
                raise BadRequest(f"{path + name!r} is not a field of {what}. Did you mean {path + near[0]}?")
        if isinstance(value, Mapping) and value != before.get(name):
            _refuse_misspelled(value, before.get(name), types.get(name), what, path=f"{path}{name}.")


def _received(name: str, came: Any, *, shows_values: bool) -> str:
    """Name a field, with its value as it came, shortened, if that may be shown."""
    if not shows_values or not isinstance(came, Mapping) or name not in came:
        return name
    return (
        f"{name} (received {printable_json(json.dumps(storable(came[name]), ensure_ascii=False))[:_SHOWN_CHARACTERS]})"
    )


def _fields(of: Any) -> Mapping[str, Any]:
    """Map the field names of a struct, or of an optional struct, to their types; empty for any other type."""
    choices = of.types if isinstance(of, msgspec.inspect.UnionType) else (of,)
    struct = next((choice for choice in choices if isinstance(choice, msgspec.inspect.StructType)), None)
    return {field.encode_name: field.type for field in struct.fields} if struct else {}
