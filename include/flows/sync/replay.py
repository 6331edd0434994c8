"""Mended records out of quarantine and into the hub, the way every record goes."""

from __future__ import annotations

from collections.abc import Sequence

from include.flows.sync.batch_file import as_content
from include.flows.sync.declaration import LEASE_LIFE, Sync
from include.flows.sync.gate import Sifted, sifted
from include.flows.sync.load import report
from include.model.sync import Mode, Report, RunState, SyncRequest
from include.store import audit, batches, leases, quarantine, runs
from include.store.database import Store, Work
from include.store.quarantine import Item


def replay(sync: Sync, store: Store, items: Sequence[Item], *, actor: str) -> Report:
    """
    The report of a run over *items*: each as mended, or as it came where nobody mended it.

    What passes is loaded and its item closed; what fails again stays open with its new reason. A
    record whose source has a newer version in the hub is stale: newer wins, the edit stays on the item.

    Raises:
        LeaseHeld: another replay is at work.

    """
    key = leases.LeaseKey(sync.integration, sync.entity, "replay")
    content = sifted(sync, [_page_of(items)])
    failed = {(record.record_id, record.version) for record in content.rejected}
    passed = [item for item in items if (item.record_id, item.version) not in failed]
    with store.transaction() as work:
        run = runs.start(work, key, SyncRequest(keys=_keys(items)), mode=Mode.REPLAY)
        leases.take(work, key, run.run_id, LEASE_LIFE)
        run = runs.get(work, run.run_id)
        quarantine.close(work, [item.item_id for item in passed], "replayed", f"{actor} in {run.run_id}")
        batches.add(work, run.run_id, 0, records=len(items))
        (batch,) = batches.of_run(work, run.run_id)
        batches.load(work, sync.table, run, batch, as_content(content))
        _finish(work, run, content)
        for item in items:
            verdict = "replayed" if item in passed else "failed again"
            audit.add(work, actor=actor, act=f"quarantine.replay: {verdict}", subject=f"quarantine/{item.item_id}")
    return report(store, run.run_id)


def _page_of(items: Sequence[Item]) -> bytes:
    return b'{"results":[' + b",".join(item.mended or item.raw for item in items) + b"]}"


def _keys(items: Sequence[Item]) -> tuple[str, ...]:
    return tuple(item.record_key or item.record_id for item in items)


def _finish(work: Work, run: runs.Run, content: Sifted) -> None:
    runs.finish(work, run.run_id, RunState.PARTIAL if content.rejected else RunState.DONE)
    leases.release(work, run.lease, run.run_id)
