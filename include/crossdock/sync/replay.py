"""Replay records out of quarantine: they are validated and loaded like every record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from crossdock.core.errors import BadRequest
from crossdock.core.hints import Hint, HintId
from crossdock.db import leases
from crossdock.db.database import Store, StoreUnavailable, ValueRefused, Work
from crossdock.observability import audit
from crossdock.sync import batches, ledger
from crossdock.sync.batches import Content
from crossdock.sync.dataset import Schema
from crossdock.sync.decode import decoded
from crossdock.sync.load import report
from crossdock.sync.model import Mode, Report, RunState, SyncRequest
from crossdock.sync.quarantine import repository as quarantine_repository
from crossdock.sync.quarantine.model import Rejected
from crossdock.sync.quarantine.repository import Item
from crossdock.sync.refused_rows import refused_rows, rejections, without
from crossdock.sync.stream import LEASE_LIFE, Stream
from crossdock.sync.validate_rows import validate_rows


def replay(stream: Stream, store: Store, items: Sequence[Item], *, actor: str) -> Report:
    """
    Replay *items* in one run and return its report: each as edited, or as it came if nobody edited it.

    A record that passes is loaded and its item closed; one that fails again stays open with its new reason. A
    record is stale if the hub has a newer version: the newer version wins, and the edit stays on the item.

    Raises:
        LeaseHeld, StoreUnavailable: another replay is running, or a record is locked; run it again.
        BadRequest: an item was closed or edited since it was selected.

    """
    content = _validated(stream, items)
    try:
        return _replay(stream, store, items, content, actor)
    except ValueRefused:
        return _replay(stream, store, items, _without_refused(stream, store, items, content), actor)


def _replay(stream: Stream, store: Store, items: Sequence[Item], content: Content, actor: str) -> Report:
    key = stream.lease("replay")
    # By the item's identity, which its rejection was given: the edit may have changed the record's own.
    failed = {(record.record_id, record.version) for record in content.rejected}
    passed = {item.item_id for item in items if (item.record_id, item.version) not in failed}
    with store.transaction() as work:
        run = ledger.start(work, key, SyncRequest(keys=_keys(items)), mode=Mode.REPLAY)
        leases.take(work, key, run.run_id, LEASE_LIFE)
        run = ledger.get(work, run.run_id)
        _refuse_changed(work, items)
        quarantine_repository.close(work, sorted(passed), "replayed", f"{actor} in {run.run_id}")
        batches.add(work, run.run_id, 0, records=len(items), lines=_lines_of(stream.dataset, content))
        (batch,) = batches.of_run(work, run.run_id)
        counts = batches.load(
            work,
            stream.dataset,
            run,
            batch,
            content,
            parts=stream.parts,
            compares_content=stream.compares_content,
        )
        if counts.records.held:
            # A deferred record would be read from the source again, which does not have the edit.
            raise StoreUnavailable("Another transaction holds one of these records. Replay them again")
        _finish(work, run, content)
        for item in items:
            verdict = "replayed" if item.item_id in passed else "failed again"
            audit.add(work, actor=actor, act=f"quarantine.replay: {verdict}", subject=f"quarantine/{item.item_id}")
    return report(store, run.run_id)


def _validated(stream: Stream, items: Sequence[Item]) -> Content:
    """
    Validate *items*.

    A record that fails again keeps the id of its item: the edit may have changed the id, or it was a hash of the original.
    """
    pages, unreadable = [], []
    sent: dict[bytes, list[Item]] = {}
    for item in items:
        record = (item.edited or item.raw).strip()
        page = b'{"results":[' + record + b"]}"
        rejected = decoded(page, stream.record_type, stream.key_field, stream.lines_fields).rejected
        unreadable += [_as_item(one, item) for one in rejected]
        if not rejected:
            pages.append(page)
            sent.setdefault(record, []).append(item)
    content = validate_rows(stream, pages)
    # Records with the same bytes have the same outcome, so any of them may be assigned to any of the items.
    refused = [_as_item(one, sent[one.raw].pop()) for one in content.rejected]
    return replace(content, rejected=(*refused, *unreadable))


def _without_refused(stream: Stream, store: Store, items: Sequence[Item], content: Content) -> Content:
    """Reject the records that the database does not take, in a trial of which nothing stays."""
    with store.transaction() as work, work.transaction(force_rollback=True):
        run = ledger.start(work, stream.lease("replay"), SyncRequest(keys=_keys(items)), mode=Mode.REPLAY)
        refused = refused_rows(work, stream, run, content.accepted)
    sent = {(item.edited or item.raw).strip(): item for item in items}
    more = [_as_item(one, sent[one.raw]) for one in rejections(stream, sent, refused)]
    return replace(content, accepted=without(content.accepted, refused), rejected=(*content.rejected, *more))


def _as_item(record: Rejected, item: Item) -> Rejected:
    return msgspec.structs.replace(record, record_id=item.record_id, version=item.version)


def _refuse_changed(work: Work, items: Sequence[Item]) -> None:
    now = {item.item_id: item for item in quarantine_repository.lock(work, [item.item_id for item in items])}
    for item in items:
        if now[item.item_id].state != "open" or now[item.item_id].edited != item.edited:
            raise BadRequest(
                f"Quarantine item {item.item_id} was changed in the meantime and is {now[item.item_id].state}. "
                "Nothing was replayed. Select the items again",
                hint=Hint(HintId.LIST_QUARANTINE),
            )


def _keys(items: Sequence[Item]) -> tuple[str, ...]:
    return tuple(item.record_key or item.record_id for item in items)


def _finish(work: Work, run: ledger.Run, content: Content) -> None:
    ledger.finish(work, run.run_id, RunState.PARTIAL if content.rejected else RunState.DONE)
    leases.release(work, run.lease, run.run_id)


def _lines_of(dataset: Schema, content: Content) -> int:
    """Count all lines that were validated; an edit may have added or removed some."""
    loaded = sum(content.accepted.column(dataset.lines).to_pylist()) if dataset.lines else 0
    return loaded + sum(record.lines for record in content.rejected) + content.repeats.lines.accounted
