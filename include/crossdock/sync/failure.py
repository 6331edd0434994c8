"""End a run whose tasks have used up their retries."""

from __future__ import annotations

from crossdock.db import leases
from crossdock.db.database import Store
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind
from crossdock.sync import landing, ledger
from crossdock.sync.model import RunState
from crossdock.sync.stream import Stream


def mark_failed(
    stream: Stream,
    store: Store,
    dag_run_id: str,
    error: str,
    *,
    dag_id: str | None = None,
    shard: str | None = None,
    raise_alert: bool = True,
    has_pages: bool = True,
) -> bool:
    """
    End the DAG run's run of *shard* as failed and free its lease. Does nothing if it has ended or never began.

    Returns whether it ever began; otherwise the ledger knows nothing of the failure, and no alert is opened.

    Without *has_pages* its pages are gone, so that nobody can continue it.

    With *raise_alert* an alert is opened; the next successful run of the same lease closes it.

    What the run loaded stays; what it did not load is still open below the watermark, and the next run reads it.
    """
    with store.transaction() as work:
        begun = ledger.of_dag_run(work, dag_run_id, stream.id, dag_id=dag_id)
        run = next((run for run in begun if run.request.shard in (shard, None)), None)
        if run is None or run.state is not RunState.RUNNING:
            return run is not None
        # The lease first, like everyone who writes both: the other order deadlocks with a run that takes over.
        leases.release(work, run.lease, run.run_id)
        ledger.finish(work, run.run_id, RunState.FAILED, error)
        if not has_pages:
            landing.forget(work, run.run_id)
        if raise_alert:
            what = Found(f"Run {run.run_id} failed: {error}", None, (run.run_id,), stream.integration, stream.id)
            alerts.add(work, Kind.RUN_FAILED, str(run.lease), what)
    return True
