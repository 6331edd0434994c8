"""Every DAG file parses quickly, calls no other system while it does, and documents what a person can do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

#: One worker parses them all.
pytestmark = pytest.mark.xdist_group("dags")

PROJECT = Path(__file__).parents[2]
DAG_FILES = sorted(path.name for path in (PROJECT / "dags").glob("*.py"))

#: Parses each DAG file in one process with the network switched off.
_PARSE = """
import importlib.util, json, socket, sys, time
began = time.process_time()
import airflow.sdk, pydantic_settings
airflow_s = time.process_time() - began
from airflow.sdk.definitions._internal.contextmanager import DagContext

def refuse(*_arguments, **_options):
    raise RuntimeError("a DAG file opened a connection while it was parsed")

socket.socket.connect = refuse
found, ids = {}, []
for path in sys.argv[1:]:
    name = path.rsplit("/", 1)[1][:-3]
    started = time.process_time()
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    DagContext.current_autoregister_module_name = name
    spec.loader.exec_module(module)
    seconds = time.process_time() - started
    for dag, owner in DagContext.autoregistered_dags:
        if owner is module:
            ids.append(dag.dag_id)
        if owner is module and (dag.dag_id == name or path not in found):
            found[path] = {
                "dag_id": dag.dag_id, "doc": dag.doc_md or "", "tags": sorted(dag.tags), "seconds": seconds,
                "max_active_runs": dag.max_active_runs, "catchup": dag.catchup,
                "tasks": {
                    task.task_id: {"retries": task.retries, "policy": type(task.retry_policy).__name__}
                    for task in dag.tasks
                },
            }
heavy = sorted(set(sys.modules) & {"great_expectations", "pandas", "pyarrow", "psycopg2"})
print(json.dumps({"airflow_s": airflow_s, "dags": found, "ids": sorted(ids), "heavy": heavy}))
"""


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return parse(tmp_path_factory.mktemp("airflow"))


def parse(home: Path, **settings: str) -> dict[str, Any]:
    """All DAG files as an installation with *settings* has them."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        **settings,
    }
    paths = [str(PROJECT / "dags" / name) for name in DAG_FILES]
    ended = subprocess.run(
        [sys.executable, "-c", _PARSE, *paths], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    document: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return document


def dag_of(parsed: dict[str, Any], name: str) -> dict[str, Any]:
    dag: dict[str, Any] = parsed["dags"][str(PROJECT / "dags" / name)]
    return dag


def test_no_dag_file_imports_a_heavy_package(parsed: dict[str, Any]) -> None:
    """Airflow parses each file again and again, and once for every task."""
    assert parsed["heavy"] == []


@pytest.mark.parametrize("name", DAG_FILES)
def test_a_dag_is_named_as_its_file(parsed: dict[str, Any], name: str) -> None:
    """A person who sees the DAG in the UI finds its file."""
    assert dag_of(parsed, name)["dag_id"] == name.removesuffix(".py")


@pytest.mark.parametrize("name", DAG_FILES)
def test_a_dag_documents_what_to_do_when_it_fails(parsed: dict[str, Any], name: str) -> None:
    """The person who is woken at night reads it in the UI."""
    assert "**Triage.**" in dag_of(parsed, name)["doc"]
    assert dag_of(parsed, name)["tags"]


@pytest.mark.parametrize("name", DAG_FILES)
def test_a_dag_file_costs_a_quarter_of_what_airflow_itself_costs(parsed: dict[str, Any], name: str) -> None:
    """Airflow parses it again and again, in a process that has just imported Airflow. CPU of both, side by side."""
    assert dag_of(parsed, name)["seconds"] < 0.25 * parsed["airflow_s"]


@pytest.mark.parametrize("name", DAG_FILES)
def test_every_task_is_retried_by_the_kind_of_its_error(parsed: dict[str, Any], name: str) -> None:
    """A refused request must not be sent three more times, and a passing fault must not need a person."""
    dag = dag_of(parsed, name)
    assert dag["max_active_runs"] == (4 if name.startswith("backfill_") else 1)
    assert not dag["catchup"]
    for task in dag["tasks"].values():
        assert task["policy"] == "RetryByKind"
        assert task["retries"] > 0


def test_a_sync_that_is_shared_has_its_three_tasks_in_a_mapped_group(tmp_path: Path) -> None:
    """One setting shares it among workers; the others stay as they are."""
    shared = parse(tmp_path, HUB_SYNC_INVENTORY_SHARDS="2")

    assert set(dag_of(shared, "sync_inventory.py")["tasks"]) == {"shard.extract", "shard.validate", "shard.load"}
    assert set(dag_of(shared, "sync_order.py")["tasks"]) == {"extract", "validate", "load"}


def test_each_worker_of_the_delivery_is_a_dag(tmp_path: Path) -> None:
    """One run for all of them would end for all of them at once, and events would wait until the next has started."""
    ids = parse(tmp_path, HUB_DELIVERY_WORKERS="3")["ids"]

    assert [name for name in ids if name.startswith("deliver")] == [
        "deliver_events",
        "deliver_events_2",
        "deliver_events_3",
    ]
