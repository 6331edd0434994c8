"""Load the validated batches of a run, one transaction each, and end the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from dataclasses import replace
from threading import Event

from crossdock.core.failpoints import failpoint
from crossdock.core.log import logger
from crossdock.core.memory import trim_memory
from crossdock.db import leases
from crossdock.db.database import Store, ValueRefused
from crossdock.observability import alerts
from crossdock.observability.alerts import Kind
from crossdock.sync import batches, landing, ledger, log_fields, watermarks
from crossdock.sync.batch_file import read_batch
from crossdock.sync.batches import Batch, Content
from crossdock.sync.decode import decoded
from crossdock.sync.lease_renewal import LeaseRenewal, reacquire_lease
from crossdock.sync.ledger import Run
from crossdock.sync.model import Mode, Report, RunState
from crossdock.sync.refused_rows import refused_rows, rejections, without
from crossdock.sync.source import Axis
from crossdock.sync.stream import Stream, Systems
from crossdock.sync.upsert import Overtaken

log = logger(__name__)


def load(stream: Stream, systems: Systems, run_id: str) -> Report:
    """
    Load every batch of the run, end the run, and return its report.

    Idempotent: running it again loads the batches that are still open; a finished run only returns its report.

    Raises:
        LeaseHeld, StoreUnavailable, LandingUnavailable: transient; run it again.
        LeaseLost: a newer run has overtaken this one. Nothing more is written.
        Unaccounted: pages landed that are in no batch: clear `validate` with its downstream task.

    """
    run = reacquire_lease(systems, run_id)
    if run.state is RunState.RUNNING:
        _load_batches(stream, systems, run)
        _finish(systems, run)
        failpoint("load.finished")
    return report(systems.store, run_id)


#: Batches of a full read that are loaded concurrently: while one waits for the disk, another uses the CPU.
_CONNECTIONS = 2
#: How often a batch is tried if another writer loads one of its records at the same moment.
_ATTEMPTS = 5


def _load_batches(stream: Stream, systems: Systems, run: Run) -> None:
    with systems.store.transaction() as work:
        waiting = [batch for batch in batches.of_run(work, run.run_id) if not batch.loaded]
        by_id_alone = all(part.axis is Axis.ID for part in landing.ranges_of(work, run.run_id))
    # A read by time, or by id and again by key, may show a record twice, in two batches, and its versions must be
    # written and published in their order. So must the contents of one version.
    connections = min(_CONNECTIONS if by_id_alone and not stream.compares_content else 1, len(waiting))
    if connections <= 1:
        _load_some(stream, systems, run, waiting, Event())
        return
    stop = Event()
    with ThreadPoolExecutor(connections, thread_name_prefix="load") as pool:
        flights = [
            pool.submit(copy_context().run, _load_concurrently, stream, systems, run, waiting[first::connections], stop)
            for first in range(connections)
        ]
        try:
            for flight in as_completed(flights):
                flight.result()
        except BaseException:
            stop.set()  # also if this thread is interrupted: each of the others ends after its current batch
            raise


def _load_concurrently(stream: Stream, systems: Systems, run: Run, some: Sequence[Batch], stop: Event) -> None:
    """Load *some* batches on a connection of their own. If it fails, the others end after their current batch."""
    try:
        with systems.store.another() as store:
            _load_some(stream, replace(systems, store=store), run, some, stop)
    except BaseException:
        stop.set()
        raise


def _load_some(stream: Stream, systems: Systems, run: Run, some: Sequence[Batch], stop: Event) -> None:
    renewal = LeaseRenewal(systems, run)
    for batch in some:
        if stop.is_set():
            return
        content = read_batch(systems.landing, batches.name_of(run.run_id, batch.batch_no))
        for attempt in range(_ATTEMPTS):
            try:
                _load_batch(stream, systems, run, batch, content)
                break
            except Overtaken:
                if attempt == _ATTEMPTS - 1:
                    raise
        del content
        trim_memory()
        systems.progress(f"batch {batch.batch_no + 1} loaded")
        renewal.renew()


def _load_batch(stream: Stream, systems: Systems, run: Run, batch: Batch, content: Content) -> None:
    failpoint("load.before_transaction")
    try:
        _commit_batch(stream, systems, run, batch, content)
    except ValueRefused:
        content = _without_refused(stream, systems, run, batch, content)
        _commit_batch(stream, systems, run, batch, content)


def _commit_batch(stream: Stream, systems: Systems, run: Run, batch: Batch, content: Content) -> None:
    with systems.store.transaction() as work:
        counts = batches.load(
            work,
            stream.dataset,
            run,
            batch,
            content,
            parts=stream.parts,
            compares_content=stream.compares_content,
        )
        failpoint("load.before_commit")
    failpoint("load.after_commit")
    with log_fields.of(run, batch.batch_no):
        log.log(systems.log_level, "Batch %s of run %s: %s", batch.batch_no, run.run_id, counts.records)


def _without_refused(stream: Stream, systems: Systems, run: Run, batch: Batch, content: Content) -> Content:
    """Reject the records that the database does not take, in a trial of which nothing stays."""
    with systems.store.transaction() as work:
        with work.transaction(force_rollback=True):
            refused = refused_rows(work, stream, run, content.accepted)
        pages = landing.pages_of(work, run.run_id)
    with log_fields.of(run, batch.batch_no):
        log.warning("The database refuses %s records of batch %s", len(refused), batch.batch_no)
    raws = _raws(stream, systems, [page for page in pages if _is_in(batch, page)])
    more = rejections(stream, raws, refused)
    return replace(content, accepted=without(content.accepted, refused), rejected=(*content.rejected, *more))


def _is_in(batch: Batch, page: landing.Page) -> bool:
    if batch.first_page is None or batch.last_page is None:
        return False
    return batch.first_page <= (page.range_no, page.page_no) <= batch.last_page


def _raws(stream: Stream, systems: Systems, pages: Sequence[landing.Page]) -> Iterator[bytes]:
    for page in pages:
        body = systems.landing.read(page.path)
        yield from decoded(body, stream.record_type, stream.key_field, stream.lines_fields).raws()


def _finish(systems: Systems, run: Run) -> None:
    """End the run, move the watermark and release the lease in one transaction, unless a record has no outcome."""
    with systems.store.transaction() as work:
        leases.check(work, run.lease, run.run_id, run.fencing_token)
        counts = ledger.get(work, run.run_id).counts
        landed = sum(page.records for page in landing.pages_of(work, run.run_id))
        if counts.read != landed:
            raise batches.Unaccounted(
                f"Run {run.run_id} landed {landed} records and loaded {counts.read}: some were not validated. "
                "Clear `validate` with its downstream task"
            )
        if run.moves_watermark:
            watermarks.advance(work, run.lease, run.run_id, run.window)
        partial = bool(counts.rejected or counts.held)
        ledger.finish(work, run.run_id, RunState.PARTIAL if partial else RunState.DONE)
        if not systems.landing.is_kept:
            landing.forget(work, run.run_id)
        # Keys say nothing of the rest of the source.
        over = (Kind.RUN_FAILED,) if run.mode is Mode.KEYS else (Kind.RUN_FAILED, Kind.RUN_HELD)
        alerts.close(work, *over, subject=str(run.lease))
        leases.release(work, run.lease, run.run_id)
        failpoint("load.before_finish")


def report(store: Store, run_id: str) -> Report:
    """Report the run as the ledger records it."""
    with store.transaction() as work:
        run = ledger.get(work, run_id)
    return Report(
        run_id=run_id, stream=run.stream, state=run.state, counts=run.counts, lines=run.lines, seconds=run.seconds
    )
