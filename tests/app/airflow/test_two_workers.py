"""One execution, made by workers that share nothing but the hub's database and the folder of definitions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from crossdock.app import workflow_snapshots
from crossdock.db.database import Store
from crossdock.workflows.declared import repository as versions
from crossdock.workflows.declared.flow import flow_name
from tests.hub_databases import airflow_connection
from tests.workflows.declared.test_executions import workflow, workflow_text

PROJECT = Path(__file__).parents[3]
RUN = "manual__1"
_MAKE = """
import logging, runpy, sys, types
from airflow.sdk.exceptions import AirflowSkipException
path, dag_id, run_id, *tasks = sys.argv[1:]
logging.disable()
dag = runpy.run_path(path)[dag_id]
for name in tasks:
    run = types.SimpleNamespace(run_id=run_id, conf={"n": 7}, run_type="manual")
    try:
        dag.get_task(name).execute({"dag_run": run})
    except AirflowSkipException:
        print(name, "skipped")
    else:
        print(name, "made")
"""


@dataclass
class Worker:
    """A machine of its own: its home, its folder for Airflow and its place to work."""

    home: Path
    dsn: str
    definitions_url: str

    def make(self, *tasks: str) -> list[str]:
        """What became of each of these tasks of the run."""
        self.home.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "HUB_"))}
        environment = {
            **kept,
            "HOME": str(self.home),
            "HUB_HOME": str(self.home / "hub"),
            "AIRFLOW_HOME": str(self.home / "airflow"),
            "AIRFLOW_CONN_HUB_DB": json.dumps(airflow_connection(self.dsn)),
            "HUB_DEFINITIONS_URL": self.definitions_url,
        }
        file_name = workflow_snapshots.file_name(workflow_snapshots.file_of("w2"))
        ended = subprocess.run(
            [sys.executable, "-c", _MAKE, str(PROJECT / "dags" / file_name), "workflow_w2", RUN, *tasks],
            cwd=self.home,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        return [line for line in ended.stdout.splitlines() if line.split()[0] in tasks]


@pytest.fixture
def workers(tmp_path: Path, hub_dsn: str) -> tuple[Worker, Worker]:
    url = f"file://{tmp_path}/definitions"
    return Worker(tmp_path / "one", hub_dsn, url), Worker(tmp_path / "two", hub_dsn, url)


def deploy(store: Store, url: str, steps: str, *, version: int) -> None:
    head = "params: {n: {type: integer}}\n"
    with store.transaction() as work:
        versions.add(
            work,
            workflow(steps, version=version, head=head),
            workflow_text(steps, version=version, head=head),
            actor="dora",
        )
        versions.deploy(work, "w2", version, actor="otto")
    workflow_snapshots.write(store, url=url)


def test_workers_with_different_homes_make_one_execution_of_the_version_it_began_with(
    store: Store, workers: tuple[Worker, Worker]
) -> None:
    """The first begins, another version is deployed, and the second makes the rest from the same snapshots."""
    one, two = workers
    first = "  - {id: begun, set: {n: params.n}}\n  - {id: ended, set: {n: steps.begun.n}}\n"
    deploy(store, one.definitions_url, first, version=1)
    assert one.make("workflow.begin", "begun") == ["workflow.begin made", "begun made"]

    deploy(store, one.definitions_url, "  - {id: other, set: {n: params.n}}\n" + first, version=2)
    made = two.make("other", "begun", "ended", "workflow.finish")

    assert made == ["other skipped", "begun made", "ended made", "workflow.finish made"]
    with store.transaction() as work:
        assert work.execute(b"SELECT flow, state FROM execution").fetchall() == [(flow_name("w2", 1), "completed")]
