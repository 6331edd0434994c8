"""Checked batches into the hub, one transaction each, and the run's end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from dataclasses import replace
from threading import Event

from crossdock.core.failpoints import crash_point
from crossdock.core.memory import give_back
from crossdock.db import leases
from crossdock.db.database import Store
from crossdock.observability import alerts
from crossdock.sync import batches, landing, log_fields, watermarks
from crossdock.sync import ledger as runs
from crossdock.sync.batch_file import read_batch
from crossdock.sync.batches import Batch, Content
from crossdock.sync.declaration import Sync, Systems
from crossdock.sync.lease_renewal import LeaseKeeper, retake
from crossdock.sync.ledger import Run
from crossdock.sync.model import Report, RunState
from crossdock.sync.source import Axis
from crossdock.sync.upsert import Overtaken

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


#: Batches of a full read that are loaded side by side: while one waits for the disk, another works.
_CONNECTIONS = 2
#: How often a batch is loaded again when another writer brought one of its records at the same moment.
_ATTEMPTS = 5


def _load_batches(sync: Sync, systems: Systems, run: Run) -> None:
    with systems.store.transaction() as work:
        waiting = [batch for batch in batches.of_run(work, run.run_id) if not batch.loaded]
        by_id_alone = all(part.axis is Axis.ID for part in landing.ranges_of(work, run.run_id))
    # What is read by time, or by id and once more by name, may bring a record twice, in two batches, and its versions
    # must be written and told in their order.
    connections = min(_CONNECTIONS if by_id_alone else 1, len(waiting))
    if connections <= 1:
        _load_share(sync, systems, run, waiting, Event())
        return
    stop = Event()
    with ThreadPoolExecutor(connections, thread_name_prefix="load") as pool:
        flights = [
            pool.submit(copy_context().run, _load_apart, sync, systems, run, waiting[first::connections], stop)
            for first in range(connections)
        ]
        try:
            for flight in as_completed(flights):
                flight.result()
        except BaseException:
            stop.set()  # also when it is this thread that is told to end: each share ends after the batch it is at
            raise


def _load_apart(sync: Sync, systems: Systems, run: Run, share: Sequence[Batch], stop: Event) -> None:
    """*share* on a connection of its own. Its failure lets the others end after the batch they are at."""
    try:
        with systems.store.another() as store:
            _load_share(sync, replace(systems, store=store), run, share, stop)
    except BaseException:
        stop.set()
        raise


def _load_share(sync: Sync, systems: Systems, run: Run, share: Sequence[Batch], stop: Event) -> None:
    keeper = LeaseKeeper(systems, run)
    for batch in share:
        if stop.is_set():
            return
        content = read_batch(systems.landing, batches.name_of(run.run_id, batch.batch_no))
        for attempt in range(_ATTEMPTS):
            try:
                _load_batch(sync, systems, run, batch, content)
                break
            except Overtaken:
                if attempt == _ATTEMPTS - 1:
                    raise
        del content
        give_back()
        systems.progress(f"batch {batch.batch_no + 1} loaded")
        keeper.renew()


def _load_batch(sync: Sync, systems: Systems, run: Run, batch: Batch, content: Content) -> None:
    crash_point("load.before_transaction")
    with systems.store.transaction() as work:
        fates = batches.load(work, sync.table, run, batch, content)
        crash_point("load.before_commit")
    crash_point("load.after_commit")
    with log_fields.of(run, batch.batch_no):
        log.info("Batch %s of run %s: %s", batch.batch_no, run.run_id, fates.records)


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
        alerts.close(work, "run_failed", "run_held", subject=str(run.lease))
        leases.release(work, run.lease, run.run_id)
        crash_point("load.before_finish")


def report(store: Store, run_id: str) -> Report:
    """The run as the ledger has it."""
    with store.transaction() as work:
        run = runs.get(work, run_id)
    return Report(
        run_id=run_id, entity=run.entity, state=run.state, counts=run.counts, lines=run.lines, seconds=run.seconds
    )
