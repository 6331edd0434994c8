"""One edit for all records of a cause, and what a replay would do, before it does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from crossdock.core import exact_json
from crossdock.core.errors import BadRequest
from crossdock.db.bulk_edit import set_field
from crossdock.db.database import Store
from crossdock.sync import Stream
from crossdock.sync.quarantine import repository
from crossdock.sync.quarantine.repository import Item
from crossdock.sync.quarantine.service import StreamOf, accepted_edit, save_edit
from crossdock.sync.validate_rows import validate_rows

#: Validated for a preview, and edited at once. A person waits for it.
MOST = 5_000
#: Edited in one transaction.
_SLICE = 500
#: The rule of a record in which the field cannot be set.
CANNOT_BE_SET = "the field cannot be set"

#: Dotted field of the source → its new value.
Changes = Mapping[str, Any]


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay of the chosen records would do now."""

    chosen: int
    #: The first `MOST` of them.
    checked: int
    would_load: int
    #: The first rule that each of the others would fail, with how many.
    still_bad: tuple[tuple[str, int], ...]


def changes_between(before: Any, after: Any) -> dict[str, Any]:
    """
    Find what an edit from *before* to *after* sets: dotted field → value. Lists are set as a whole.

    Raises:
        BadRequest: it removes a field, or renames one with a dot: that cannot be said of other records.

    """
    return dict(_changes(before, after, ""))


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    if removed := sorted(set(before) - set(after)):
        raise BadRequest(
            f"The edit removes {path}{removed[0]}. For all records alike, a field can be set, and not removed"
        )
    for name, value in after.items():
        known = before.get(name)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            yield from _changes(known, value, f"{path}{name}.")
        elif name not in before or not exact_json.is_same(value, known):
            if "." in name:
                raise BadRequest(f"{path}{name} has a dot in its name. Edit these records one by one")
            yield f"{path}{name}", value


def preview(store: Store, item_ids: Sequence[int], changes: Changes, *, streams: StreamOf) -> Preview:
    """
    Validate the first `MOST` of the items as they would be replayed, each with *changes*. Nothing is saved.

    Raises:
        BadRequest: a stream does not exist any more, or none of the records has a field of *changes*.

    """
    with store.transaction() as work:
        items = repository.read(work, item_ids[:MOST])
    found = Counter[str]()
    refusals: list[BadRequest] = []
    for stream, of_stream in groupby(sorted(items, key=lambda item: item.stream), key=lambda item: item.stream):
        found += _rules_failed(streams(stream), list(of_stream), changes, refusals)
    if refusals and len(refusals) == len(items):
        # A misspelt field, most likely: `edit_all` would refuse it, too.
        raise refusals[0]
    return Preview(
        chosen=len(item_ids),
        checked=len(items),
        would_load=len(items) - found.total(),
        still_bad=tuple(found.most_common()),
    )


def _rules_failed(stream: Stream, items: Sequence[Item], changes: Changes, refusals: list[BadRequest]) -> Counter[str]:
    """Count the rules that records would fail; add to *refusals* why a record does not take the change."""
    records, failed = [], Counter[str]()
    for item in items:
        try:
            records.append(_accepted(stream, item, changes)[1])
        except BadRequest as refused:
            failed[CANNOT_BE_SET] += 1
            refusals.append(refused)
    if records:
        rejected = validate_rows(stream, [b'{"results":[' + b",".join(records) + b"]}"]).rejected
        failed.update(record.cause for record in rejected)
    return failed


def edit_all(store: Store, item_ids: Sequence[int], changes: Changes, *, streams: StreamOf, actor: str) -> list[int]:
    """
    Apply *changes* to each item, each with its entry in the audit trail; return the IDs of those that were edited.

    One that was closed meanwhile, in which the field cannot be set, or whose type does not know it, stays as it is: the
    preview counts it as `CANNOT_BE_SET`. Safe to repeat.

    Raises:
        BadRequest: there are more than `MOST`, a stream does not exist any more, or no record takes the change.

    """
    if len(item_ids) > MOST:
        raise BadRequest(f"{len(item_ids):,} records are too many to edit at once; at most {MOST:,} are possible")
    edited: list[int] = []
    refusals: list[BadRequest] = []
    ordered, known = sorted(item_ids), dict[str, Stream]()
    for start in range(0, len(ordered), _SLICE):
        with store.transaction() as work:
            for item in repository.lock(work, ordered[start : start + _SLICE]):
                if item.state != "open":
                    continue
                # Looked up once: it may be read from an object store.
                stream = known.get(item.stream) or known.setdefault(item.stream, streams(item.stream))
                try:
                    document, record = _accepted(stream, item, changes)
                except BadRequest as refused:
                    refusals.append(refused)
                    continue
                save_edit(work, stream, item, document, record, actor=actor)
                edited.append(item.item_id)
    if refusals and not edited:
        # A misspelt field, most likely: it is none of any record.
        raise refusals[0]
    return edited


def _accepted(stream: Stream, item: Item, changes: Changes) -> tuple[dict[str, Any], bytes]:
    """Apply *changes* to an item, and refuse what a person could not save for it alone."""
    record = _changed(item, changes)
    return (accepted_edit(stream, item, record) if changes else {}), record


def _changed(item: Item, changes: Changes) -> bytes:
    record = (item.edited or item.raw).strip()
    if not changes:
        return record
    document = exact_json.decode(record.decode())
    for field, value in changes.items():
        set_field(document, field, value)
    return exact_json.encode(document)
