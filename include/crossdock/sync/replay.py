"""Mended records out of quarantine and into the hub, the way every record goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from crossdock.core.errors import BadRequest
from crossdock.core.hints import Hint, HintId
from crossdock.db import leases
from crossdock.db.database import Store, StoreUnavailable, Work
from crossdock.observability import audit
from crossdock.sync import batches
from crossdock.sync import ledger as runs
from crossdock.sync.batches import Content
from crossdock.sync.declaration import LEASE_LIFE, Sync
from crossdock.sync.decode import decoded
from crossdock.sync.load import report
from crossdock.sync.model import Mode, Report, RunState, SyncRequest
from crossdock.sync.quarantine import repository as quarantine
from crossdock.sync.quarantine.model import Rejected
from crossdock.sync.quarantine.repository import Item
from crossdock.sync.tables import EntityTable
from crossdock.sync.validate_rows import sifted


def replay(sync: Sync, store: Store, items: Sequence[Item], *, actor: str) -> Report:
    """
    The report of a run over *items*: each as mended, or as it came where nobody mended it.

    What passes is loaded and its item closed; what fails again stays open with its new reason. A
    record whose source has a newer version in the hub is stale: newer wins, the edit stays on the item.

    Raises:
        LeaseHeld, StoreUnavailable: another replay is at work, or a record is in use; run it again.
        BadRequest: an item was closed or mended since it was chosen.

    """
    key = leases.LeaseKey(sync.integration, sync.entity, "replay")
    content = _sifted(sync, items)
    # By the item's identity, which its rejection was given: the record's own may be another since it was mended.
    failed = {(record.record_id, record.version) for record in content.rejected}
    passed = {item.item_id for item in items if (item.record_id, item.version) not in failed}
    with store.transaction() as work:
        run = runs.start(work, key, SyncRequest(keys=_keys(items)), mode=Mode.REPLAY)
        leases.take(work, key, run.run_id, LEASE_LIFE)
        run = runs.get(work, run.run_id)
        _refuse_changed(work, items)
        quarantine.close(work, sorted(passed), "replayed", f"{actor} in {run.run_id}")
        batches.add(work, run.run_id, 0, records=len(items), lines=_lines_of(sync.table, content))
        (batch,) = batches.of_run(work, run.run_id)
        if batches.load(work, sync.table, run, batch, content).records.held:
            # Left open, it would be read from the source again, which does not have what was mended.
            raise StoreUnavailable("Another transaction is at work on one of these records; replay them again")
        _finish(work, run, content)
        for item in items:
            verdict = "replayed" if item.item_id in passed else "failed again"
            audit.add(work, actor=actor, act=f"quarantine.replay: {verdict}", subject=f"quarantine/{item.item_id}")
    return report(store, run.run_id)


def _sifted(sync: Sync, items: Sequence[Item]) -> Content:
    """*items* sifted. One that fails keeps its item's identity: a mend may change it, or it was a digest of what it was."""
    pages, unreadable = [], []
    sent: dict[bytes, list[Item]] = {}
    for item in items:
        record = (item.mended or item.raw).strip()
        page = b'{"results":[' + record + b"]}"
        rejected = decoded(page, sync.record_type, sync.key_field, sync.lines_field).rejected
        unreadable += [_as_item(one, item) for one in rejected]
        if not rejected:
            pages.append(page)
            sent.setdefault(record, []).append(item)
    content = sifted(sync, pages)
    # Records with the same bytes have the same fate, so it does not matter which of them is taken for which item.
    refused = [_as_item(one, sent[one.raw].pop()) for one in content.rejected]
    return replace(content, rejected=(*refused, *unreadable))


def _as_item(record: Rejected, item: Item) -> Rejected:
    return msgspec.structs.replace(record, record_id=item.record_id, version=item.version)


def _refuse_changed(work: Work, items: Sequence[Item]) -> None:
    now = {item.item_id: item for item in quarantine.lock(work, [item.item_id for item in items])}
    for item in items:
        if now[item.item_id].state != "open" or now[item.item_id].mended != item.mended:
            raise BadRequest(
                f"Quarantine item {item.item_id} was changed meanwhile and is {now[item.item_id].state}: "
                "nothing was replayed. Choose again",
                hint=Hint(HintId.LIST_QUARANTINE),
            )


def _keys(items: Sequence[Item]) -> tuple[str, ...]:
    return tuple(item.record_key or item.record_id for item in items)


def _finish(work: Work, run: runs.Run, content: Content) -> None:
    runs.finish(work, run.run_id, RunState.PARTIAL if content.rejected else RunState.DONE)
    leases.release(work, run.lease, run.run_id)


def _lines_of(table: EntityTable, content: Content) -> int:
    """All lines that went through the gate; a mend may have added or taken away some."""
    loaded = sum(content.accepted.column(table.lines_column).to_pylist()) if table.lines_column else 0
    return loaded + sum(record.lines for record in content.rejected) + content.repeats.lines.accounted
