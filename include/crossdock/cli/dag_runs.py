"""Trigger a sync's DAG over Airflow's REST API and follow it to its end in the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

from crossdock.cli.console import Bar
from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AirflowRefused, StackError
from crossdock.core.errors import NotFound
from crossdock.db.database import Store
from crossdock.sync import landing
from crossdock.sync import ledger as runs
from crossdock.sync.ledger import Run
from crossdock.sync.model import SyncRequest

T = TypeVar("T")

_ENDED = frozenset({"success", "failed"})
_LOOK_EVERY_S = 0.25


class DagRunFailed(StackError):
    """A DAG run ended red without a run in the ledger: it did not get as far as that."""


def trigger(api: AirflowApi, entity: str, request: SyncRequest) -> str:
    """
    The id of the DAG run that answers for *request*.

    Raises:
        NotFound: Airflow has no such DAG; of a declaration that is new it has none for a while.
        DagPaused: somebody paused it there.

    """
    conf = {name: value for name, value in _document(request).items() if value not in (None, [], 0, False)}
    try:
        api.refuse_paused(f"sync_{entity}")
        return api.trigger(f"sync_{entity}", conf)
    except AirflowRefused as refused:
        if refused.status != HTTPStatus.NOT_FOUND:
            raise
        raise NotFound(
            f"Airflow has no DAG sync_{entity}. It reads a new declaration within a minute: try again then, or see what "
            "is wrong with: ./hub doctor"
        ) from refused


def _document(request: SyncRequest) -> dict[str, Any]:
    return {
        "full": request.full,
        "since": request.since and request.since.isoformat(),
        "until": request.until and request.until.isoformat(),
        "keys": list(request.keys),
        "limit": request.limit,
        "allow_shrink": request.allow_shrink,
    }


def follow(
    api: AirflowApi,
    store: Store,
    entity: str,
    dag_run_id: str,
    bar: Bar,
    *,
    watch_tasks: bool = False,
    timeout_s: float = 3600.0,
) -> tuple[str, list[Run]]:
    """
    The DAG run's state and its run in the ledger (one for each shard, if it is divided), once it has ended.

    Raises:
        DagRunFailed: it ended before it had a run; the message says which task and where its log is.
        StackError: it did not end in time.

    """

    def look() -> str | None:
        state = str(api.dag_run(f"sync_{entity}", dag_run_id)["state"])
        tasks = _task_states(api, entity, dag_run_id) if watch_tasks else ""
        _tell(store, entity, dag_run_id, f"{state} {tasks}".strip(), bar)
        return state if state in _ENDED else None

    state = wait_for(look, f"DAG run {dag_run_id}", timeout_s)
    with store.transaction() as work:
        begun = runs.of_dag_run(work, dag_run_id, entity, dag_id=f"sync_{entity}")
    if not begun:
        raise DagRunFailed(
            f"sync_{entity} run {dag_run_id} ended as {state} before it began to read. Its log: "
            f"{api.url}/dags/sync_{entity}/runs/{dag_run_id}. Then try: ./hub doctor"
        )
    return state, begun


def wait_for(look: Callable[[], T | None], what: str, timeout_s: float) -> T:
    """What *look* gives, as soon as it gives anything."""
    deadline = time.monotonic() + timeout_s
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise StackError(f"{what} did not come in {timeout_s:.0f} s. See: ./hub status, ./hub doctor")
        time.sleep(_LOOK_EVERY_S)
    return found


def _task_states(api: AirflowApi, entity: str, dag_run_id: str) -> str:
    tasks = api.task_instances(f"sync_{entity}", dag_run_id)
    order = {"extract": 0, "validate": 1, "load": 2}
    tasks.sort(key=lambda task: order.get(task["task_id"], 9))
    return " → ".join(f"{task['task_id']} {task['state'] or 'waiting'}" for task in tasks)


def _tell(store: Store, entity: str, dag_run_id: str, state: str, bar: Bar) -> None:
    with store.transaction() as work:
        begun = runs.of_dag_run(work, dag_run_id, entity, dag_id=f"sync_{entity}")
        landed = sum(page.records for run in begun for page in landing.pages_of(work, run.run_id))
    if not begun:
        bar.tell(f"{dag_run_id}: {state}")
        return
    accounted = sum(run.counts.read for run in begun)
    # Each shard knows the number of records of the whole.
    expected = max(run.expected_records or landed for run in begun)
    bar.tell(
        f"{', '.join(run.run_id for run in begun)}: {landed:,} read, {accounted:,} accounted for ({state})",
        done=landed + accounted,
        total=2 * max(expected, landed) or None,
    )
