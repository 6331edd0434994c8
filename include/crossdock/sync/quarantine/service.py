"""The triage of records in quarantine: select, edit, replay, discard. Every act is audited."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from crossdock.core import exact_json
from crossdock.core.errors import BadRequest, Conflict, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.core.storable import storable
from crossdock.db.bulk_edit import (
    Discarded,
    discard_in_slices,
    known_fields,
    refuse_no_reason,
    refuse_unclear,
    refuse_unknown_fields,
    set_field,
)
from crossdock.db.database import Store, Work
from crossdock.observability import audit
from crossdock.sync import Stream, replay
from crossdock.sync.dataset import Record
from crossdock.sync.model import Report
from crossdock.sync.quarantine import repository
from crossdock.sync.quarantine.model import Failure
from crossdock.sync.quarantine.repository import Item
from crossdock.sync.validate_rows import validate_rows

#: Finds a stream by its id; `app` provides it.
StreamOf = Callable[[str], Stream]

#: Replayed in one transaction; more items take several.
_ITEMS_A_RUN = 5_000


def readable(raw: bytes) -> Any:
    """Parse a stored record into a JSON value that can be shown: characters that UTF-8 cannot hold become escapes."""
    return storable(json.loads(raw))


def edit_fields(
    store: Store, item_id: int, changes: Mapping[str, Any], *, streams: StreamOf, actor: str
) -> tuple[Failure, ...]:
    """
    Apply *changes* (dotted field → value) to the item, and return why it would still be rejected; empty if it would pass.

    Raises:
        NotFound: no such item.
        BadRequest: a field is inside a value that is not an object, or records of this type do not have it.
        Conflict: the item is closed, or somebody else edited it at the same moment.

    """
    with store.transaction() as work:
        item = repository.get(work, item_id)
    record = exact_json.decode((item.edited or item.raw).decode())
    for field, value in changes.items():
        set_field(record, field, value)

    def refuse_changed(now: Item) -> None:
        if now.edited != item.edited:
            raise Conflict(f"Quarantine item {item_id} was edited at the same moment. Look at it, and repeat the edit")

    return edit(store, item_id, exact_json.encode(record), streams=streams, actor=actor, refuse_changed=refuse_changed)


def edit(
    store: Store,
    item_id: int,
    edited: bytes,
    *,
    streams: StreamOf,
    actor: str,
    refuse_changed: Callable[[Item], None] = lambda _: None,
) -> tuple[Failure, ...]:
    """
    Replace the whole record by *edited*, and return why it would still be rejected; empty if it would pass.

    It must still be the same record, with fields that its type knows. If it equals the original, the edit is removed.
    *refuse_changed* is called in the transaction that saves, with the item as it is then and stays until the end.

    Raises:
        NotFound: no such item.
        BadRequest: it is not JSON, is another record, or has a field that its type does not know.
        Conflict: the item is closed.

    """
    with store.transaction() as work:
        item = repository.get(work, item_id)
    stream = streams(item.stream)
    document = accepted_edit(stream, item, edited)
    with store.transaction() as work:
        (item,) = repository.lock(work, [item_id])
        refuse_changed(item)
        save_edit(work, stream, item, document, edited, actor=actor)
    return failures_of(stream, edited)


def check(store: Store, item_id: int, edited: bytes, *, streams: StreamOf) -> tuple[Failure, ...]:
    """
    Find out why the item would still be rejected if it were edited to *edited*; empty if it would pass. Nothing is saved.

    Raises:
        NotFound, BadRequest: as `edit`.

    """
    with store.transaction() as work:
        item = repository.get(work, item_id)
    accepted_edit(streams(item.stream), item, edited)
    return failures_of(streams(item.stream), edited)


def accepted_edit(stream: Stream, item: Item, edited: bytes) -> dict[str, Any]:
    """
    Parse *edited*, which must be the same record with fields that its type knows.

    Raises:
        BadRequest: it is not JSON, is another record, or has a field that its type does not know.

    """
    document = _same_record(item, edited)
    of = msgspec.inspect.type_info(stream.record_type)
    refuse_unknown_fields(
        document,
        json.loads(item.raw),
        of,
        stream.field_names,
        what=f"{item.stream} records, which have the names of their source",
        sources=stream.sources,
        shows_values=not _may_be_personal(stream),
    )
    return document


def save_edit(
    work: Work, stream: Stream, item: Item, document: Mapping[str, Any], edited: bytes, *, actor: str
) -> None:
    """
    Keep *edited*, which is *document*, as the record to replay, with its entry in the audit trail.

    Raises:
        Conflict: the item is closed.

    """
    original = json.loads(item.raw)
    before = json.loads(item.edited) if item.edited else original
    is_original = exact_json.is_same(_exact(edited), _exact(item.raw))
    repository.save_edit(work, item.item_id, None if is_original else edited)
    changes = audit.changes_of_document(before, document, shown=_shown_fields(stream))
    left_out = {"left_out": changes.left_out} if changes.left_out else {}
    detail = {"stream": item.stream, "changed": changes.places, **left_out}
    audit.add(work, actor=actor, act="quarantine.fix", subject=f"quarantine/{item.item_id}", detail=detail)


def _exact(record: bytes) -> Any:
    return exact_json.decode(record.decode("utf-8", "backslashreplace"))


def failures_of(stream: Stream, record: bytes) -> tuple[Failure, ...]:
    """Validate one record by the rules of its sync; return why it would be rejected."""
    rejected = validate_rows(stream, [b'{"results":[' + record + b"]}"]).rejected
    return rejected[0].failures if rejected else ()


def editable_fields(stream: Stream, item: Item) -> list[str]:
    """List the fields of the source that an edit may set; those of the record as received first."""
    return known_fields(json.loads(item.raw), msgspec.inspect.type_info(stream.record_type), stream.field_names)


def sources_of(stream: Stream, item: Item) -> dict[str, list[str]]:
    """Name the top-level fields of the record as received that each column comes from, as far as that is known."""
    record = json.loads(item.raw)
    named = {_bare(name): name for name in record} if isinstance(record, dict) else {}
    alike = {column.name: [named[_bare(column.name)]] for column in stream.columns if _bare(column.name) in named}
    return alike | {column: sorted(fields & {*named.values()}) for column, fields in stream.sources.items()}


def _bare(name: str) -> str:
    """Compare names without what vendors and columns write differently: `quantityOnStock` becomes `quantity_on_stock`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def choose(
    store: Store,
    item_ids: Sequence[int],
    *,
    cause: str | None,
    everything: bool,
    stream: str | None = None,
    up_to: int | None = None,
) -> list[int]:
    """
    Select open items in exactly one way: by id, by cause, or all; return their IDs, since there may be a million records.

    With *stream*, those of one stream; with *up_to*, none that came after that ID.

    Raises:
        BadRequest: no way or several ways were used.
        NotFound: no such item, or no open item with that cause.
        Conflict: an item is closed.

    """
    refuse_unclear(item_ids, cause=cause, everything=everything)
    with store.transaction() as work:
        if not item_ids:
            found = repository.choose(work, stream=stream, cause=cause, up_to=up_to)
            if cause is not None and not found:
                raise NotFound(f"No open item has the cause {cause!r}", hint=Hint(HintId.LIST_QUARANTINE))
            return found
        items = [repository.get(work, item_id) for item_id in dict.fromkeys(item_ids)]
    closed = [item for item in items if item.state != "open"]
    if closed:
        raise Conflict(f"Quarantine item {closed[0].item_id} is {closed[0].state}; only open items can be selected")
    return [item.item_id for item in items]


def alike(store: Store, item_id: int) -> tuple[str, str]:
    """
    Find what the item has in common with those that are like it: its stream and its cause.

    Raises:
        NotFound: no such item.

    """
    with store.transaction() as work:
        item = repository.get(work, item_id)
    return item.stream, item.cause


def replay_all(store: Store, items: Sequence[Item], *, streams: StreamOf, actor: str) -> list[Report]:
    """Replay *items*, one run for each stream and slice, and return the runs' reports."""
    reports: list[Report] = []
    for stream, of_stream in groupby(sorted(items, key=lambda item: item.stream), key=lambda item: item.stream):
        waiting = list(of_stream)
        chunks = (waiting[start : start + _ITEMS_A_RUN] for start in range(0, len(waiting), _ITEMS_A_RUN))
        reports.extend(replay(streams(stream), store, chunk, actor=actor) for chunk in chunks)
    return reports


def discard(store: Store, item_id: int, reason: str, *, actor: str) -> None:
    """
    Close the item permanently; the record stays in the quarantine table.

    Raises:
        NotFound: no such item.
        BadRequest: the reason is missing.
        Conflict: the item is closed already.

    """
    refuse_no_reason(reason)
    selected = choose(store, [item_id], cause=None, everything=False)
    if not discard_all(store, selected, reason, actor=actor).closed:
        raise Conflict(f"Quarantine item {item_id} was closed in the meantime")


def discard_all(store: Store, item_ids: Sequence[int], reason: str, *, actor: str) -> Discarded:
    """
    Close those of *item_ids* that are open permanently, each with an audit entry.

    Safe to interrupt and to repeat: closed items are not touched.

    Raises:
        BadRequest: the reason is missing.

    """

    def close(work: Work, some: Sequence[int]) -> list[int]:
        still_open = [item.item_id for item in repository.lock(work, some) if item.state == "open"]
        repository.close(work, still_open, "discarded", actor)
        for item_id in still_open:
            subject, detail = f"quarantine/{item_id}", {"reason": reason}
            audit.add(work, actor=actor, act="quarantine.discard", subject=subject, detail=detail)
        return still_open

    return discard_in_slices(store, item_ids, reason, close)


def _may_be_personal(stream: Stream) -> bool:
    """Check whether records as their source sends them may be about a person: sources have names of their own."""
    return bool(stream.dataset.personal_fields) or stream.dataset is Record.schema


def _shown_fields(stream: Stream) -> frozenset[str]:
    """
    Name the fields of the source whose values the audit trail may have: those that become columns, none of which is personal.

    A source has names of its own. Of a dataset with personal data nobody knows which of them are, nor of a field that is not mapped.
    """
    if _may_be_personal(stream):
        return frozenset()
    of = msgspec.inspect.type_info(stream.record_type)
    if isinstance(of, msgspec.inspect.StructType):
        return frozenset(field.encode_name for field in of.fields)
    return stream.mapped_fields


def _same_record(item: Item, edited: bytes) -> dict[str, Any]:
    try:
        document = json.loads(edited)
    except ValueError as error:
        raise BadRequest(f"The edited record is not JSON: {error}") from error
    original = json.loads(item.raw)
    if not isinstance(original, dict):
        raise BadRequest(f"Quarantine item {item.item_id} is not a JSON object and cannot be edited. Discard it")
    for name in ("id", "version"):
        if not isinstance(document, dict) or document.get(name) != original.get(name):
            raise BadRequest(
                f"The edited record has another {name} than item {item.item_id} ({original.get(name)!r}). "
                "Edit the fields that failed; `id` and `version` must stay"
            )
    return dict(document)
