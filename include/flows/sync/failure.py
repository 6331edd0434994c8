"""A run's end when its tasks have given up."""

from __future__ import annotations

from include.flows.sync.declaration import Sync
from include.model.sync import RunState
from include.store import alerts, leases, runs
from include.store.database import Store


def mark_failed(
    sync: Sync,
    store: Store,
    dag_run_id: str,
    error: str,
    *,
    dag_id: str | None = None,
    part: str | None = None,
    is_alert: bool = True,
) -> None:
    """
    Ends the DAG run's run of *part* as failed and frees its lease. Does nothing when it has ended or never began.

    What it loaded stays; what it did not is still open below the watermark, and the next run reads it.
    Without *is_alert* nobody is told: whoever asked for the run tries it again, or tells of it in its own words.
    """
    with store.transaction() as work:
        begun = runs.of_dag_run(work, dag_run_id, sync.entity, dag_id=dag_id)
        run = next((run for run in begun if run.request.part in (part, None)), None)
        if run is None or run.state is not RunState.RUNNING:
            return
        # The lease first, as everybody who writes both: the other order deadlocks with who takes over.
        leases.release(work, run.lease, run.run_id)
        runs.finish(work, run.run_id, RunState.FAILED, error)
        if is_alert:
            alerts.add(work, kind="run_failed", subject=str(run.lease), message=f"Run {run.run_id} failed: {error}")
