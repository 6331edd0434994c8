"""Read the pages of the source into the landing, as they came."""

from __future__ import annotations

from crossdock.core.errors import HeldForApproval
from crossdock.core.failpoints import failpoint
from crossdock.db import leases
from crossdock.db.database import Work
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind
from crossdock.sync import landing, ledger, log_fields, records
from crossdock.sync.ledger import Run
from crossdock.sync.model import Counts, Mode, RowCounts, RunState, SyncRequest, reads_everything
from crossdock.sync.reader import read
from crossdock.sync.stream import Stream, Systems
from crossdock.sync.window import planned_ranges

#: A read of the whole source that finds less than this share of the known records is put on hold for a person.
_SHRUNKEN_SHARE = 0.5


def extract(
    stream: Stream, systems: Systems, request: SyncRequest, *, dag_id: str | None = None, dag_run_id: str | None = None
) -> str:
    """
    Land all pages of a run, and return the run's id.

    Idempotent: running it again for the same DAG run continues after the last page that landed.

    Raises:
        LeaseHeld: another run of this stream is running; run it again later.
        SystemUnavailable, SourceInvalid, StoreUnavailable, LandingUnavailable: transient; run it again.
        SystemRefused: the source refuses our credentials or the request.
        HeldForApproval: the source was read whole, and was empty or much smaller than expected; a person decides.

    """
    run = _begin(stream, systems, stream.resolved(request), dag_id, dag_run_id)
    with log_fields.of(run):
        failpoint("extract.begun")
        parts = planned_ranges(stream, systems, run)
        failpoint("extract.planned")
        read(stream, systems, run, parts)
        failpoint("extract.read")
        _hold_when_shrunken(stream, systems, run)
    return run.run_id


def _begin(stream: Stream, systems: Systems, request: SyncRequest, dag_id: str | None, dag_run_id: str | None) -> Run:
    """Start the run and take its lease in one transaction: without the lease, no run is recorded."""
    key = stream.lease(request.lease_shard)
    with systems.store.transaction() as work:
        run = ledger.start(work, key, request, mode=request.mode, dag_id=dag_id, dag_run_id=dag_run_id)
        leases.take(work, key, run.run_id, systems.lease_life)
        return ledger.get(work, run.run_id)


def _hold_when_shrunken(stream: Stream, systems: Systems, begun: Run) -> None:
    """
    Put a read of the whole source on hold before anything is loaded, if it found nothing or much less than expected.

    An empty feed is far more often a broken source than an empty shop; but of a new shop the hub knows nothing, and the
    source itself reports none.
    """
    run_id = begun.run_id
    with systems.store.transaction() as work:
        leases.check(work, begun.lease, run_id, begun.fencing_token)
        run = ledger.get(work, run_id)
        if not _reads_whole(stream, run) or run.request.allow_shrink:
            return
        pages = landing.pages_of(work, run_id)
        read, lines = sum(page.records for page in pages), sum(page.lines for page in pages)
        if run.request.limit and read >= run.request.limit:
            return  # The source may have more.
        known = _known(work, stream, run)
        if read >= known * _SHRUNKEN_SHARE:
            return
        error = HeldForApproval(run_id, stream.id, read, known)
        held = RowCounts(records=Counts(read=read, held=read), lines=Counts(read=lines, held=lines))
        ledger.add_counts(work, run_id, held)
        ledger.finish(work, run_id, RunState.HELD, str(error))
        what = Found(str(error), read, (run_id,), stream.integration, stream.id)
        alerts.add(work, Kind.RUN_HELD, str(run.lease), what)
        leases.release(work, run.lease, run_id)
    raise error


def _reads_whole(stream: Stream, run: Run) -> bool:
    """Check whether a run reads all that the source has. Where the source cannot be asked for a window, a window does, too."""
    return run.mode is not Mode.KEYS if not stream.reads_windows else reads_everything(run.mode, run.window)


def _known(work: Work, stream: Stream, run: Run) -> int:
    """Say how many records a read of the whole source should find: as many as the hub has, or as the source reports."""
    known = _accepted(work, run, records.count(work, stream.dataset, stream.integration, run.request.ids))
    # The source reports the number of all records; a shard may well be empty.
    return known if run.request.shard else max(known, run.expected_records or 0)


def _accepted(work: Work, run: Run, in_hub: int) -> int:
    """
    Say how many records a source has left of which a person accepted that it shrank; *in_hub* if nobody did.

    They are those that the last complete run read, if it read everything, and what came since. Nothing is deleted from the hub:
    by what it has, each later run would be put on hold until the source has grown again.
    """
    last = ledger.last_complete(work, run.lease)
    if last is None or last.mode is not Mode.FULL or not ledger.is_shrink_accepted(work, run.lease):
        return in_hub
    return min(in_hub, last.counts.read + ledger.inserted_since(work, last))
