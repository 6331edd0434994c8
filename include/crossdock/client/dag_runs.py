"""Trigger a sync's DAG over Airflow's REST API and follow it to its end in the hub's ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AirflowRefused, StackError
from crossdock.client.hub import HubApi
from crossdock.client.patience import Patience
from crossdock.core import ids
from crossdock.core.errors import NotFound
from crossdock.core.paths import path_of

T = TypeVar("T")

_ENDED = frozenset({"success", "failed"})
_POLL_INTERVAL_S = 0.25


class ShowProgress(Protocol):
    """Shows what a long command is doing now, and how much of it is done."""

    def __call__(self, sentence: str, *, done: int | None = None, total: int | None = None) -> None: ...


class DagRunFailed(StackError):
    """A DAG run ended before it had a run in the ledger."""


def trigger(api: AirflowApi, stream: str, request: Mapping[str, object]) -> str:
    """
    Start a DAG run that carries out *request* (fields of the DAG's form), and return its id.

    Raises:
        NotFound: Airflow has no such DAG (yet: it reads a new declaration within a minute).
        DagPaused: somebody paused the DAG in Airflow.

    """
    conf = {name: value for name, value in request.items() if value not in (None, [], 0, False)}
    try:
        api.refuse_paused(ids.sync_dag(stream))
        return api.trigger(ids.sync_dag(stream), conf)
    except AirflowRefused as refused:
        if refused.status != HTTPStatus.NOT_FOUND:
            raise
        raise NotFound(
            f"Airflow has no DAG {ids.sync_dag(stream)}. It reads a new declaration within a minute. Wait and run this again; "
            "if the DAG is still missing: ./hub doctor"
        ) from refused


def follow(
    api: AirflowApi,
    stream: str,
    dag_run_id: str,
    show: ShowProgress,
    *,
    watch_tasks: bool = False,
    timeout_s: float = 3600.0,
) -> tuple[str, list[dict[str, Any]]]:
    """
    Wait until the DAG run has ended; return its state and its runs in the ledger (one for each shard), with their calls.

    Raises:
        DagRunFailed: it ended before it had a run; the message says where its log is.
        LostSight: the api-server has been away for too long; a restart is waited for.
        StackError: it did not end in time.

    """
    hub, what = HubApi(api), f"DAG run {dag_run_id}"
    patience = Patience(what, f"./hub runs --stream {stream}", show=show)

    def ended() -> tuple[str, list[dict[str, Any]]] | None:
        # The state first: the runs of one that has ended are as they stay.
        state = str(api.dag_run(ids.sync_dag(stream), dag_run_id)["state"])
        tasks = _task_states(api, stream, dag_run_id) if watch_tasks else ""
        runs = _runs(hub, stream, dag_run_id)
        _show_counts(runs, dag_run_id, f"{state} {tasks}".strip(), show)
        return (state, runs) if state in _ENDED else None

    state, runs = wait_for(lambda: patience.look(ended), what, timeout_s)
    if not runs:
        raise DagRunFailed(
            f"{ids.sync_dag(stream)} run {dag_run_id} ended as {state} before it began to read. Its log: "
            f"{api.url}/dags/{ids.sync_dag(stream)}/runs/{dag_run_id}. Then try: ./hub doctor"
        )
    return state, runs


def wait_for_end(api: AirflowApi, dag_id: str, dag_run_id: str, *, timeout_s: float = 3600.0) -> str:
    """
    Wait until a DAG run has ended, and return its state.

    Raises:
        LostSight: the api-server has been away for too long; a restart is waited for.
        StackError: it did not end in time.

    """
    what = f"DAG run {dag_run_id}"
    patience = Patience(what, f"{api.url}/dags/{dag_id}/runs/{dag_run_id}")

    def ended_state() -> str | None:
        state = str(api.dag_run(dag_id, dag_run_id)["state"])
        return state if state in _ENDED else None

    return wait_for(lambda: patience.look(ended_state), what, timeout_s)


def wait_for(find: Callable[[], T | None], what: str, timeout_s: float) -> T:
    """
    Call *find* four times a second until it returns something other than None, and return that.

    Raises:
        StackError: *what* did not end within *timeout_s*.

    """
    deadline = time.monotonic() + timeout_s
    while (found := find()) is None:
        if time.monotonic() > deadline:
            raise StackError(f"{what} did not end within {timeout_s:.0f} s. See: ./hub status, ./hub doctor")
        time.sleep(_POLL_INTERVAL_S)
    return found


def _runs(hub: HubApi, stream: str, dag_run_id: str) -> list[dict[str, Any]]:
    """Read the last attempt of each shard of the DAG run, in the order of the shards; none if it has not begun."""
    listed = hub.pages("/runs", "runs", stream=stream, dag_id=ids.sync_dag(stream), dag_run_id=dag_run_id)
    latest: dict[str, dict[str, Any]] = {}
    for run in sorted(listed, key=lambda run: int(run["attempt"])):
        latest[run["shard"]] = run
    return [hub.get(path_of("runs", latest[shard]["run_id"])).document for shard in sorted(latest)]


def _task_states(api: AirflowApi, stream: str, dag_run_id: str) -> str:
    tasks = api.task_instances(ids.sync_dag(stream), dag_run_id)
    order = {"extract": 0, "validate": 1, "load": 2}
    tasks.sort(key=lambda task: order.get(task["task_id"], 9))
    return " → ".join(f"{task['task_id']} {task['state'] or 'waiting'}" for task in tasks)


def _show_counts(runs: list[dict[str, Any]], dag_run_id: str, state: str, show: ShowProgress) -> None:
    if not runs:
        show(f"{dag_run_id}: {state}")
        return
    landed = sum(run["landed"] for run in runs)
    accounted = sum(run["counts"]["read"] for run in runs)
    # Each shard knows the size of the whole.
    expected = max(run["expected_records"] or landed for run in runs)
    show(
        f"{', '.join(run['run_id'] for run in runs)}: {landed:,} read, {accounted:,} accounted for ({state})",
        done=landed + accounted,
        total=2 * max(expected, landed) or None,
    )
