"""Checked batches into the hub, one transaction each, and the run's end."""

from __future__ import annotations

import logging

from include.flows.sync import log_fields
from include.flows.sync.batch_file import read_batch
from include.flows.sync.crash_points import crash_point
from include.flows.sync.declaration import Sync, Systems
from include.flows.sync.lease_keeper import LeaseKeeper, retake
from include.model.sync import Report, RunState
from include.store import batches, landing, leases, runs, watermarks
from include.store.database import Store
from include.store.runs import Run

log = logging.getLogger(__name__)


def load(sync: Sync, systems: Systems, run_id: str) -> Report:
    """
    The run's report, once every batch is in the hub.

    Running it again loads what is still open; a finished run only gives its report again.

    Raises:
        LeaseHeld, StoreUnavailable, LandingUnavailable: passing; run it again.
        LeaseLost: a newer run has overtaken this one. Nothing more is written.
        Unaccounted: pages landed that no batch has: clear `validate` with its downstream task.

    """
    run = retake(systems, run_id)
    if run.state is RunState.RUNNING:
        _load_batches(sync, systems, run)
        _finish(systems, run)
        crash_point("load.finished")
    return report(systems.store, run_id)


def _load_batches(sync: Sync, systems: Systems, run: Run) -> None:
    keeper = LeaseKeeper(systems, run)
    with systems.store.transaction() as work:
        waiting = [batch for batch in batches.of_run(work, run.run_id) if not batch.loaded]
    for batch in waiting:
        content = read_batch(systems.landing, sync.table, batches.name_of(run.run_id, batch.batch_no))
        crash_point("load.before_transaction")
        with systems.store.transaction() as work:
            fates = batches.load(work, sync.table, run, batch, content)
            crash_point("load.before_commit")
        crash_point("load.after_commit")
        with log_fields.of(run, batch.batch_no):
            log.info("Batch %s of run %s: %s", batch.batch_no, run.run_id, fates.records)
        systems.progress(f"batch {batch.batch_no + 1} of {len(waiting)} loaded")
        keeper.renew()


def _finish(systems: Systems, run: Run) -> None:
    """The end, the watermark and the lease in one transaction. The ledger refuses it when a record has no fate."""
    with systems.store.transaction() as work:
        leases.check(work, run.lease, run.run_id, run.fencing_token)
        counts = runs.get(work, run.run_id).counts
        landed = sum(page.records for page in landing.pages_of(work, run.run_id))
        if counts.read != landed:
            raise batches.Unaccounted(
                f"Run {run.run_id} landed {landed} records and loaded {counts.read}: some were never validated. "
                "Clear `validate` with its downstream task"
            )
        if run.moves_watermark:
            watermarks.advance(work, run.lease, run.run_id, run.window)
        partial = bool(counts.rejected or counts.held)
        runs.finish(work, run.run_id, RunState.PARTIAL if partial else RunState.DONE)
        leases.release(work, run.lease, run.run_id)
        crash_point("load.before_finish")


def report(store: Store, run_id: str) -> Report:
    """The run as the ledger has it."""
    with store.transaction() as work:
        run = runs.get(work, run_id)
    return Report(
        run_id=run_id, entity=run.entity, state=run.state, counts=run.counts, lines=run.lines, seconds=run.seconds
    )
