"""The deployment that docker-compose.yaml describes, at work: Celery, Valkey, two databases, as plain processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import psycopg
import pytest

from crossdock.core.settings import UNSCHEDULED
from tests.deploy.compose import NO_COMPOSE, PROGRAM
from tests.deploy.native import Deployment

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not PROGRAM.exists(), reason=NO_COMPOSE),
]

#: A dead worker's task is noticed sooner than in production, and tried again at once.
_HURRIED = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
    "HUB_RETRY_DELAY_S": "1",
    "HUB_LEASE_LIFE_S": "8",
}
_UNSCHEDULED = {"HUB_STREAMS": UNSCHEDULED}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    started = Deployment(tmp_path_factory.mktemp("deployment"), _HURRIED, **_UNSCHEDULED, CELERY_WORKER_CONCURRENCY="4")
    try:
        started.start_all()
        yield started
    finally:
        started.end()


def ended_in_celery(deployment: Deployment) -> int:
    with psycopg.connect(deployment.dsn("airflow"), autocommit=True) as connection:
        row = connection.execute("SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS'").fetchone()
    return int(row[0]) if row else 0


def test_a_stranger_s_first_sync_is_run_by_the_celery_worker(deployment: Deployment) -> None:
    """From an empty folder and a filled-in .env to rows in the hub: nothing else was done by hand."""
    run = trigger(deployment, {"full": True})
    assert wait_for(deployment, run) == "success", story(deployment, run)

    state, read, kept, rows = ledger(deployment, run)
    assert (state, read, kept) == ("partial", 1_000, 1_000)
    assert 900 < rows < 1_000
    # The worker records a task's end a moment after the task has reported it to Airflow.
    deadline = time.monotonic() + 3000
    while ended_in_celery(deployment) < 3:
        assert time.monotonic() < deadline, story(deployment, run)
        time.sleep(0.5)


def test_workers_fork_with_great_expectations_loaded(deployment: Deployment) -> None:
    """Else each task pays seconds for it: the image's airflow_local_settings.py must reach the worker."""
    worker = psutil.Process(deployment.running["worker"].pid)

    assert any("pandas" in mapped.path for mapped in worker.memory_maps())


def test_the_worker_answers_its_health_check(deployment: Deployment) -> None:
    """The shell line of docker-compose.yaml, as it stands there."""
    checked = deployment.ask_health("worker")

    assert checked.returncode == 0, checked.stderr


def test_a_sync_outlives_its_worker(deployment: Deployment, record_property: Callable[[str, object], None]) -> None:
    """The worker loses power while it reads; the next worker ends the same run, and every row is accounted for once."""
    deployment.sandbox().break_down("inventory", [{"latency_ms": 1500}], repeat=True)
    run = trigger(deployment, {"full": True})
    wait_until_reading(deployment)
    deployment.kill("worker")
    killed_at = time.monotonic()
    deployment.sandbox().heal()
    deployment.start("worker")
    ended = wait_for(deployment, run)
    record_property("recovery_s", round(time.monotonic() - killed_at, 1))

    assert ended == "success", story(deployment, run)
    tries = {task["task_id"]: task["try_number"] for task in tasks(deployment, run)}
    assert tries["extract"] == 2
    state, read, kept, rows = ledger(deployment, run)
    assert (state, read, kept) == ("partial", 1_000, 1_000)
    assert 900 < rows < 1_000


def trigger(deployment: Deployment, conf: dict[str, Any]) -> str:
    api = deployment.api()
    api.wait_for_dag("sync_commercetools_inventory")
    started = api.post("/dags/sync_commercetools_inventory/dagRuns", {"logical_date": None, "conf": conf})
    return str(started["dag_run_id"])


def wait_for(deployment: Deployment, run: str, timeout_s: float = 900) -> str:
    """How the run ended."""
    api, deadline = deployment.api(), time.monotonic() + timeout_s
    while (state := str(api.get(f"/dags/sync_commercetools_inventory/dagRuns/{run}")["state"])) not in {
        "success",
        "failed",
    }:
        assert time.monotonic() < deadline, story(deployment, run)
        time.sleep(0.5)
    return state


def wait_until_reading(deployment: Deployment) -> None:
    """Until the second run has landed a page, and has more to read."""
    deadline = time.monotonic() + 300
    with psycopg.connect(deployment.dsn("hub"), autocommit=True) as hub:
        landed = "SELECT count(*) FROM hub.landed_page JOIN hub.sync_run USING (run_id) WHERE state = 'running'"
        while (hub.execute(landed).fetchone() or (0,))[0] == 0:
            assert time.monotonic() < deadline, deployment.end_of_log("worker")
            time.sleep(0.1)


def tasks(deployment: Deployment, run: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = deployment.api().get(
        f"/dags/sync_commercetools_inventory/dagRuns/{run}/taskInstances"
    )["task_instances"]
    return found


def story(deployment: Deployment, run: str) -> str:
    """Collect what a person would look at: task states and logs."""
    states = [(task["task_id"], task["state"], task["try_number"]) for task in tasks(deployment, run)]
    logs = "\n".join(f"── {name}\n{deployment.end_of_log(name)}" for name in ("scheduler", "worker"))
    return f"{states}\n{logs}"


def ledger(deployment: Deployment, run: str) -> tuple[str, int, int, int]:
    """Read the run's state, its records, how many of them have an outcome; and the rows in the hub."""
    with psycopg.connect(deployment.dsn("hub")) as hub:
        entry = hub.execute(
            "SELECT state, read, inserted + updated + unchanged + stale + rejected + held,"
            " (SELECT count(*) FROM hub.inventory) FROM hub.sync_run WHERE dag_run_id = %s",
            [run],
        ).fetchone()
    assert entry is not None
    return entry
