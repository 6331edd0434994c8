"""What a person does with records in quarantine: choose, mend, replay, discard. Every act is audited."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from crossdock.core.errors import BadRequest, Conflict, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.bulk_edit import (
    Discarded,
    discard_in_slices,
    refuse_no_reason,
    refuse_unclear,
    refuse_unknown_fields,
    set_field,
)
from crossdock.db.database import Store, Work
from crossdock.observability import audit
from crossdock.sync import Sync, replay
from crossdock.sync.model import Report
from crossdock.sync.quarantine import repository as quarantine
from crossdock.sync.quarantine.model import Failure, visible
from crossdock.sync.quarantine.repository import Item
from crossdock.sync.validate_rows import sifted

#: Entity → its sync; `app` provides it.
SyncOf = Callable[[str], Sync]

#: Replayed in one transaction; more are replayed in several.
_ITEMS_A_RUN = 5_000


def readable(raw: bytes) -> Any:
    """A kept record as a JSON value that can be shown: what UTF-8 cannot hold is made visible."""
    return _shown(json.loads(raw))


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, float) and value != value:  # noqa: PLR0124  NaN alone differs from itself
        return "NaN"
    if isinstance(value, dict):
        return {name: _shown(inner) for name, inner in value.items()}
    return [_shown(inner) for inner in value] if isinstance(value, list) else value


def mend_fields(
    store: Store, item_id: int, changes: Mapping[str, Any], *, syncs: SyncOf, actor: str
) -> tuple[Failure, ...]:
    """
    Why the item would still be rejected after *changes* (dotted field → value); nothing when it would pass.

    Raises:
        NotFound: no such item.
        BadRequest: a field leads into something that has no fields, or no such record has it.
        Conflict: the item is closed.

    """
    with store.transaction() as work:
        item = quarantine.get(work, item_id)
    record = json.loads(item.mended or item.raw)
    for field, value in changes.items():
        set_field(record, field, value)
    return mend(store, item_id, json.dumps(record).encode(), syncs=syncs, actor=actor)


def mend(store: Store, item_id: int, mended: bytes, *, syncs: SyncOf, actor: str) -> tuple[Failure, ...]:
    """
    The same for a whole record; it must still be the same record, with fields that its type knows.

    A record that is again as it came has no mend any more.

    Raises:
        NotFound: no such item.
        BadRequest: it is another record, or none, or has a field that its type does not know.
        Conflict: the item is closed.

    """
    with store.transaction() as work:
        item = quarantine.get(work, item_id)
    document = _same_record(item, mended)
    original, sync = json.loads(item.raw), syncs(item.entity)
    of = msgspec.inspect.type_info(sync.record_type)
    refuse_unknown_fields(document, original, of, sync.field_names, what=f"{item.entity} records")
    with store.transaction() as work:
        quarantine.mend(work, item_id, None if document == original else mended)
        audit.add(work, actor=actor, act="quarantine.fix", subject=f"quarantine/{item_id}")
    rejected = sifted(sync, [b'{"results":[' + mended + b"]}"]).rejected
    return rejected[0].failures if rejected else ()


def choose(store: Store, item_ids: Sequence[int], *, cause: str | None, everything: bool) -> list[Item]:
    """
    The open items that were named, one way only.

    Raises:
        BadRequest: none or several ways were used.
        NotFound: no such item, or none of that cause.
        Conflict: an item is closed.

    """
    refuse_unclear(item_ids, cause=cause, everything=everything)
    with store.transaction() as work:
        if not item_ids:
            found = quarantine.find(work, cause=cause, limit=1_000_000)
            if cause is not None and not found:
                raise NotFound(f"No open item has the cause {cause!r}", hint=Hint(HintId.LIST_QUARANTINE))
            return found
        items = [quarantine.get(work, item_id) for item_id in dict.fromkeys(item_ids)]
    closed = [item for item in items if item.state != "open"]
    if closed:
        raise Conflict(f"Quarantine item {closed[0].item_id} is {closed[0].state}: only what is open can be chosen")
    return items


def replay_all(store: Store, items: Sequence[Item], *, syncs: SyncOf, actor: str) -> list[Report]:
    """The reports of the runs that replayed *items*; none when there are none."""
    reports: list[Report] = []
    for entity, of_entity in groupby(sorted(items, key=lambda item: item.entity), key=lambda item: item.entity):
        waiting = list(of_entity)
        chunks = (waiting[start : start + _ITEMS_A_RUN] for start in range(0, len(waiting), _ITEMS_A_RUN))
        reports.extend(replay(syncs(entity), store, chunk, actor=actor) for chunk in chunks)
    return reports


def discard(store: Store, item_id: int, reason: str, *, actor: str) -> None:
    """
    Closes the item for good; the record stays in the quarantine table.

    Raises:
        NotFound: no such item.
        BadRequest: no reason.
        Conflict: it is closed already.

    """
    refuse_no_reason(reason)
    chosen = choose(store, [item_id], cause=None, everything=False)
    if not discard_all(store, [item.item_id for item in chosen], reason, actor=actor).closed:
        raise Conflict(f"Quarantine item {item_id} was closed meanwhile")


def discard_all(
    store: Store, item_ids: Sequence[int], reason: str, *, actor: str, tell: Callable[[int], None] = lambda _: None
) -> Discarded:
    """
    Closes the open ones of *item_ids* for good, each with its entry in the audit trail; *tell* hears how many are done.

    Safe to interrupt and to repeat: what is closed is left alone.

    Raises:
        BadRequest: no reason.

    """

    def close(work: Work, some: Sequence[int]) -> list[int]:
        still_open = [item.item_id for item in quarantine.lock(work, some) if item.state == "open"]
        quarantine.close(work, still_open, "discarded", actor)
        for item_id in still_open:
            subject, detail = f"quarantine/{item_id}", {"reason": reason}
            audit.add(work, actor=actor, act="quarantine.discard", subject=subject, detail=detail)
        return still_open

    return discard_in_slices(store, item_ids, reason, close, tell)


def _same_record(item: Item, mended: bytes) -> dict[str, Any]:
    try:
        document = json.loads(mended)
    except ValueError as error:
        raise BadRequest(f"The mended record is not JSON: {error}") from error
    original = json.loads(item.raw)
    if not isinstance(original, dict):
        raise BadRequest(f"Quarantine item {item.item_id} is no record that could be mended; discard it")
    for name in ("id", "version"):
        if not isinstance(document, dict) or document.get(name) != original.get(name):
            raise BadRequest(
                f"The mended record has another {name} than item {item.item_id} ({original.get(name)!r}): "
                "mend the fields that failed, and leave what says which record it is"
            )
    return dict(document)
