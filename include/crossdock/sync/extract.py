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

#: A full read that finds less than this share of the known records is put on hold for a person.
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
        HeldForApproval: a full read was empty or much smaller than expected, or a list was empty; a person decides.

    """
    run = _begin(stream, systems, request, dag_id, dag_run_id)
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
    Put a full read on hold before anything is loaded, if it found nothing or much less than expected; and each other read of
    a whole list, if it found nothing.

    An empty feed is far more often a broken source than an empty shop; but of a new shop the hub knows nothing, and the
    source itself reports none.
    """
    run_id = begun.run_id
    with systems.store.transaction() as work:
        leases.check(work, begun.lease, run_id, begun.fencing_token)
        run = ledger.get(work, run_id)
        if run.request.allow_shrink or run.request.limit:
            return
        pages = landing.pages_of(work, run_id)
        read, lines = sum(page.records for page in pages), sum(page.lines for page in pages)
        known = _known_of_more(work, stream, run, read)
        if known is None:
            return
        error = HeldForApproval(run_id, stream.id, read, known)
        held = RowCounts(records=Counts(read=read, held=read), lines=Counts(read=lines, held=lines))
        ledger.add_counts(work, run_id, held)
        ledger.finish(work, run_id, RunState.HELD, str(error))
        what = Found(str(error), read, (run_id,), stream.integration, stream.id)
        alerts.add(work, Kind.RUN_HELD, str(run.lease), what)
        leases.release(work, run.lease, run_id)
    raise error


def _known_of_more(work: Work, stream: Stream, run: Run, read: int) -> int | None:
    """Say how many records the source should have, if a run has *read* too few of them; None if it has not."""
    # A list may hold the last days only: what is in the hub says nothing of how long it is.
    reads_list = not stream.reads_windows and not stream.may_be_empty and run.mode is not Mode.KEYS
    if not reads_everything(run.mode, run.window) and (read or not reads_list):
        return None
    known = records.count(work, stream.dataset, stream.integration, run.request.ids)
    # The source reports the number of all records; a shard may well be empty.
    if run.request.shard is None:
        known = max(known, run.expected_records or 0)
    return known if read < known * _SHRUNKEN_SHARE else None
