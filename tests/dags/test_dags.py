"""Every DAG file parses quickly, calls no other system while it does, and documents what a person can do."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from crossdock.app import definitions
from crossdock.app.definitions import Definition
from crossdock.commerce.orders.steps import OrderStepName
from crossdock.connectors.commercetools import KIND
from crossdock.core.settings import UNSCHEDULED

#: One worker parses them all.
pytestmark = pytest.mark.xdist_group("dags")

PROJECT = Path(__file__).parents[2]
EXAMPLES = PROJECT / "dags/integrations/examples"
SHOPS = ("commercetools", "shop_eu")
SHOP = Definition(integration=KIND, kind=KIND, title=KIND)
DAG_FILES = sorted(path.name for path in (PROJECT / "dags").glob("*.py"))

#: Parses each DAG file in one process with the network switched off: no file may ask a server, nor a database.
_PARSE = """
import importlib.util, json, socket, sys, time
began = time.process_time()
import airflow.sdk, pydantic_settings
airflow_s = time.process_time() - began
from airflow.sdk.definitions._internal.contextmanager import DagContext

def refuse(*_arguments, **_options):
    raise RuntimeError("a DAG file opened a connection while it was parsed")

socket.socket.connect = refuse
files, dags, errors = {}, {}, {}
for path in sys.argv[1:]:
    name = path.rsplit("/", 1)[1][:-3]
    started = time.process_time()
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    DagContext.current_autoregister_module_name = name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        errors[name] = str(error)
    files[name] = time.process_time() - started
    for dag, owner in DagContext.autoregistered_dags:
        if owner is module:
            dags[dag.dag_id] = {
                "file": name, "doc": dag.doc_md or "", "description": dag.description, "owner": dag.owner, "tags": sorted(dag.tags),
                "max_active_runs": dag.max_active_runs, "catchup": dag.catchup, "schedule": type(dag.timetable).__name__,
                "tasks": {
                    task.task_id: {
                        "retries": task.retries, "policy": type(task.retry_policy).__name__, "pool": task.pool,
                        "rule": task.trigger_rule.value, "after": sorted(task.upstream_task_ids),
                    }
                    for task in dag.tasks
                },
            }
heavy = sorted(set(sys.modules) & {"great_expectations", "pandas", "pyarrow", "psycopg2"})
print(json.dumps({"airflow_s": airflow_s, "files": files, "dags": dags, "heavy": heavy, "errors": errors}))
"""


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("airflow")
    declared = folder / "declared"
    declared.mkdir()
    shutil.copy(EXAMPLES / "sandbox_stock_rest.yaml", declared)
    integrations = [Definition(integration=name, kind=KIND, title=name) for name in ("commercetools", "shop_eu")]
    # Twice: what Airflow parses again and again is compiled.
    parse(folder, integrations, HUB_DECLARATIONS=str(declared), PYTHONDONTWRITEBYTECODE="")
    return parse(folder, integrations, HUB_DECLARATIONS=str(declared))


def parse(home: Path, integrations: Sequence[Definition], **settings: str) -> dict[str, Any]:
    """Parse all DAG files as an installation with *integrations* and *settings* has them."""
    url = f"file://{home}/definitions"
    definitions.write_snapshots(integrations, url=url)
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "HUB_DEFINITIONS_URL": url,
        "HUB_DECLARATIONS": str(home / "declared"),
        **settings,
    }
    paths = [str(PROJECT / "dags" / name) for name in DAG_FILES]
    ended = subprocess.run(
        [sys.executable, "-c", _PARSE, *paths], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    document: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return document


def test_no_dag_file_has_an_import_error(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}


def test_no_dag_file_imports_a_heavy_package(parsed: dict[str, Any]) -> None:
    """Airflow parses each file again and again, and once for every task."""
    assert parsed["heavy"] == []


def test_each_integration_has_the_dags_of_its_streams(parsed: dict[str, Any]) -> None:
    """Two shops of one vendor are two integrations, and a declared one is like any other."""
    datasets = ("customers", "inventory", "orders", "prices", "products")
    expected = {
        *(f"{what}_{shop}_{dataset}" for what in ("sync", "backfill") for shop in SHOPS for dataset in datasets),
        "sync_sandbox_stock_rest_inventory",
        "backfill_sandbox_stock_rest_inventory",
        "check_declarations",
        "clean_up",
        "deliver_events",
        "deliver_events_2",
        "place_order",
    }
    assert set(parsed["dags"]) == expected


def test_the_dags_of_an_integration_are_in_one_file(parsed: dict[str, Any]) -> None:
    """A change of the integration has that file parsed at once."""
    for shop in SHOPS:
        found = {dag["file"] for dag_id, dag in parsed["dags"].items() if f"_{shop}_" in dag_id}
        assert found == {f"streams_{definitions.file_of(shop)}"}


def test_there_is_a_dag_file_for_each_share_of_the_integrations() -> None:
    """The DAGs of a share without a file would not exist."""
    assert {name for name in DAG_FILES if name.startswith("streams_")} == {
        definitions.file_name(number) for number in range(definitions.FILES)
    }


def test_every_dag_says_what_it_does_and_whose_it_is(parsed: dict[str, Any]) -> None:
    """In Airflow's list of all DAGs, where nobody reads their pages; `airflow` is the owner that says nothing."""
    for dag_id, dag in parsed["dags"].items():
        assert dag["description"], dag_id
        assert dag["owner"] == "crossdock", dag_id


def test_every_dag_documents_what_to_do_when_it_fails(parsed: dict[str, Any]) -> None:
    """The person who is woken at night reads it in the UI."""
    for dag_id, dag in parsed["dags"].items():
        assert "**Triage.**" in dag["doc"], dag_id
        assert dag["tags"], dag_id


@pytest.mark.parametrize("name", [name.removesuffix(".py") for name in DAG_FILES])
def test_a_dag_file_costs_a_quarter_of_what_airflow_itself_costs(parsed: dict[str, Any], name: str) -> None:
    """Airflow parses it again and again, in a process that has just imported Airflow. CPU of both, side by side."""
    assert parsed["files"][name] < 0.25 * parsed["airflow_s"]


def test_every_task_is_retried_by_the_kind_of_its_error(parsed: dict[str, Any]) -> None:
    """A refused request must not be sent three more times, and a passing fault must not need a person."""
    for dag_id, dag in parsed["dags"].items():
        runs_at_once = {"backfill": 4, "place": 8}
        assert dag["max_active_runs"] == runs_at_once.get(dag_id.split("_")[0], 1)
        assert not dag["catchup"]
        for task in dag["tasks"].values():
            assert task["policy"] == "RetryByKind"
            assert task["retries"] > 0


def test_the_tasks_of_an_integration_share_its_pool(parsed: dict[str, Any]) -> None:
    """One shop that is slow must not take the slots of another; a file alone makes no pool."""
    pools = {
        dag_id: {task["pool"] for task in dag["tasks"].values()}
        for dag_id, dag in parsed["dags"].items()
        if dag_id.startswith("sync_")
    }
    assert pools["sync_commercetools_orders"] == {"commercetools"}
    assert pools["sync_shop_eu_orders"] == {"shop_eu"}
    assert pools["sync_sandbox_stock_rest_inventory"] == {"default_pool"}


def test_a_sync_that_is_shared_has_its_three_tasks_in_a_mapped_group(tmp_path: Path) -> None:
    """One setting shares one stream among workers; the others stay as they are."""
    shared = parse(tmp_path, [SHOP], HUB_STREAMS='{"commercetools.inventory": {"shards": 2}}')["dags"]

    grouped = {"shard.extract", "shard.validate", "shard.load"}
    assert set(shared["sync_commercetools_inventory"]["tasks"]) == grouped
    assert set(shared["sync_commercetools_orders"]["tasks"]) == {"extract", "validate", "load"}


def test_a_schedule_is_disabled_for_one_stream_or_for_all(tmp_path: Path) -> None:
    one = '{"commercetools.inventory": {"schedule": ""}}'
    some, none = (parse(tmp_path, [SHOP], HUB_STREAMS=streams)["dags"] for streams in (one, UNSCHEDULED))

    assert some["sync_commercetools_inventory"]["schedule"] == "NullTimetable"
    assert some["sync_commercetools_orders"]["schedule"] != "NullTimetable"
    assert none["sync_commercetools_orders"]["schedule"] == "NullTimetable"


def test_a_hub_without_a_snapshot_has_no_streams(tmp_path: Path) -> None:
    """Before the first start nothing is known, and nothing fails."""
    assert not [dag_id for dag_id in parse(tmp_path, [])["dags"] if dag_id.startswith("sync_")]


def test_a_declaration_with_a_mistake_keeps_its_last_valid_version(tmp_path: Path) -> None:
    """A slip in a file at night must not stop the sync."""
    declared = tmp_path / "declared"
    declared.mkdir()
    path = declared / "warehouse.yaml"
    shutil.copy(EXAMPLES / "sandbox_stock_rest.yaml", path)
    before = parse(tmp_path, [])
    path.write_text(path.read_text().replace("sku:", "skuu:"))
    (declared / "newcomer.yaml").write_text("title: [")
    broken = parse(tmp_path, [])
    path.unlink()
    (declared / "newcomer.yaml").unlink()
    gone = parse(tmp_path, [])

    assert "sync_warehouse_inventory" in before["dags"]
    assert set(broken["dags"]) == set(before["dags"])
    assert "sync_warehouse_inventory" not in gone["dags"]
    assert before["errors"] == gone["errors"] == {}
    # Airflow shows it on its first page; the file that has it defines no DAG.
    assert set(broken["errors"]) == {"declarations"}
    known, newcomer = sorted(broken["errors"]["declarations"].split("\n\n"), reverse=True)
    assert "/mapping/skuu: is not a column of inventory" in known
    assert "Its last valid version keeps running" in known
    assert "newcomer.yaml is not valid:" in newcomer
    assert "It has no DAG yet" in newcomer


def test_an_order_has_a_task_for_each_step_and_the_compensation_is_made_in_any_case(parsed: dict[str, Any]) -> None:
    """A step that failed for its orders stops none that is past it; where none was taken, all are skipped."""
    tasks = parsed["dags"]["place_order"]["tasks"]
    steps = [str(name) for name in OrderStepName]

    assert list(tasks) == ["take_orders", *steps, "compensate"]
    assert {tasks[name]["rule"] for name in steps} == {"none_skipped"}
    assert tasks["compensate"]["rule"] == "all_done"
    for before, name in itertools.pairwise(["take_orders", *steps, "compensate"]):
        assert set(tasks[name]["after"]) == {"take_orders", before}


def test_the_tasks_of_an_order_have_the_configured_sequence(tmp_path: Path) -> None:
    pay_first = parse(tmp_path, [SHOP], HUB_ORDER_SEQUENCE="pay_first")["dags"]["place_order"]["tasks"]

    assert pay_first["reserve_stock"]["after"] == ["authorise_payment", "take_orders"]


def test_orders_are_taken_each_minute_where_the_dag_drives_them(parsed: dict[str, Any], tmp_path: Path) -> None:
    by_dag, at_night = (
        parse(tmp_path, [SHOP], **settings)["dags"]["place_order"]["schedule"]
        for settings in ({"HUB_ORDER_DRIVER": "dag"}, {"HUB_ORDER_SCHEDULE": "0 2 * * *"})
    )

    assert parsed["dags"]["place_order"]["schedule"] == "NullTimetable"
    assert by_dag == at_night == "AssetOrTimeSchedule"


def test_each_worker_of_the_delivery_is_a_dag(tmp_path: Path) -> None:
    """One run for all of them would end for all of them at once, and events would wait until the next has started."""
    ids = sorted(parse(tmp_path, [SHOP], HUB_DELIVERY_WORKERS="3")["dags"])

    assert [name for name in ids if name.startswith("deliver")] == [
        "deliver_events",
        "deliver_events_2",
        "deliver_events_3",
    ]
