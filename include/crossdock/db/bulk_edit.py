"""What holds for every act of a person at a desk, of dead letters or of quarantine: chosen one way, with a reason, no typing slips."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from crossdock.core.errors import BadRequest
from crossdock.db.database import Store, Work

#: Closed in one transaction; more are closed in several.
_SLICE = 500
#: As alike as two names are when one is a typing slip of the other: `quantiy`, but not `streetNumber` for `streetName`.
_A_SLIP = 0.85


class Discarded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of what was to be discarded."""

    #: How many were chosen.
    chosen: int
    #: The numbers of those that are closed now; somebody else may have been quicker with some.
    closed: tuple[int, ...] = ()


def refuse_unclear(numbers: Sequence[int], *, cause: str | None, everything: bool) -> None:
    """
    Raises:
        BadRequest: none or several ways to choose were used.

    """
    if sum((bool(numbers), cause is not None, everything)) != 1:
        raise BadRequest("Say which, in one way: by their numbers, by their cause, or all of them")


def refuse_no_reason(reason: str) -> None:
    """
    Raises:
        BadRequest: there is none.

    """
    if not reason.strip():
        raise BadRequest("Say why it is not wanted: the reason is kept in the audit trail")


def discard_in_slices(
    store: Store,
    numbers: Sequence[int],
    reason: str,
    close: Callable[[Work, Sequence[int]], Sequence[int]],
    tell: Callable[[int], None],
) -> Discarded:
    """
    *numbers* closed, a slice a transaction: *close* says which of a slice it closed, *tell* hears how many are done.

    In the order of their numbers: two that lock the same rows in two orders deadlock.

    Raises:
        BadRequest: no reason.

    """
    refuse_no_reason(reason)
    ordered, closed = sorted(numbers), list[int]()
    for start in range(0, len(ordered), _SLICE):
        with store.transaction() as work:
            closed += close(work, ordered[start : start + _SLICE])
        tell(len(closed))
    return Discarded(chosen=len(ordered), closed=tuple(closed))


def set_field(record: Any, field: str, value: Any) -> None:
    """
    *record* with *value* at the dotted *field*.

    Raises:
        BadRequest: the field leads into something that has no fields.

    """
    *path, last = field.split(".")
    target = record
    for step in path:
        target = target.setdefault(step, {}) if isinstance(target, dict) else None
    if not isinstance(target, dict):
        raise BadRequest(f"{field!r} leads into something that has no fields")
    target[last] = value


def refuse_unknown_fields(mended: Mapping[str, Any], came: Any, of: Any, known: Collection[str], *, what: str) -> None:
    """
    Nothing, when *mended* has no field that neither the record as it *came* nor its type knows.

    Within its objects only what looks like a slip of a known name is refused: what all may be there nobody promised.

    Args:
        mended: The record as a person wants it.
        came: What it has is known, whatever it is.
        of: Its type (`msgspec.inspect`), or None.
        known: The names that are promised besides.
        what: What such records are called.

    Raises:
        BadRequest: a field that nobody reads: a typing slip would look like a mend. The nearest ones are named.

    """
    names = {*known, *_fields(of), *(came if isinstance(came, Mapping) else ())}
    for name in mended:
        if names and name not in names:
            near = get_close_matches(name, sorted(names), n=3)
            meant = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(sorted(names))}"
            raise BadRequest(f"{name!r} is no field of {what}. {meant}")
    _refuse_slips(mended, came, of, what, path="")


def _refuse_slips(mended: Mapping[str, Any], came: Any, of: Any, what: str, *, path: str) -> None:
    before, types = came if isinstance(came, Mapping) else {}, _fields(of)
    for name, value in mended.items():
        if path and name not in {*before, *types}:
            near = get_close_matches(name, sorted({*before, *types}), n=1, cutoff=_A_SLIP)
            if near:
                raise BadRequest(f"{path + name!r} is no field of {what}. Did you mean {path + near[0]}?")
        if isinstance(value, Mapping) and value != before.get(name):
            _refuse_slips(value, before.get(name), types.get(name), what, path=f"{path}{name}.")


def _fields(of: Any) -> Mapping[str, Any]:
    """Name → type of the struct that *of* is, or that it is besides null; empty for anything else."""
    choices = of.types if isinstance(of, msgspec.inspect.UnionType) else (of,)
    struct = next((each for each in choices if isinstance(each, msgspec.inspect.StructType)), None)
    return {field.encode_name: field.type for field in struct.fields} if struct else {}
