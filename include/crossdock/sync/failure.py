"""A run's end when its tasks have given up."""

from __future__ import annotations

from crossdock.db import leases
from crossdock.db.database import Store
from crossdock.observability import alerts
from crossdock.sync import ledger as runs
from crossdock.sync.declaration import Sync
from crossdock.sync.model import RunState


def mark_failed(
    sync: Sync,
    store: Store,
    dag_run_id: str,
    error: str,
    *,
    dag_id: str | None = None,
    part: str | None = None,
    is_told: bool = True,
) -> None:
    """
    Ends the DAG run's run of *part* as failed and frees its lease. Does nothing when it has ended or never began.

    It *is_told* by an alert, which the next run of the same lease closes that ends well.

    What it loaded stays; what it did not is still open below the watermark, and the next run reads it.
    """
    with store.transaction() as work:
        begun = runs.of_dag_run(work, dag_run_id, sync.entity, dag_id=dag_id)
        run = next((run for run in begun if run.request.part in (part, None)), None)
        if run is None or run.state is not RunState.RUNNING:
            return
        # The lease first, as everybody who writes both: the other order deadlocks with who takes over.
        leases.release(work, run.lease, run.run_id)
        runs.finish(work, run.run_id, RunState.FAILED, error)
        if is_told:
            alerts.add(work, kind="run_failed", subject=str(run.lease), message=f"Run {run.run_id} failed: {error}")
