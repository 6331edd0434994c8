"""The hub in a company's own Airflow, whose project has an `include` package and a DAG of the name of one of ours."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AirflowUnreachable
from crossdock.client.hub import HubApi
from crossdock.core.settings import UNSCHEDULED
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.stack.postgres import PostgresServer
from tests.shop import free_port, query

PROJECT = Path(__file__).parents[2]
PREFIX = "xd_"

#: What the company has: a package that is called as our folder is, and a DAG that is called as one of ours.
COMPANY = {
    "include/__init__.py": "",
    "include/greeting.py": 'HELLO = "hello from the company"\n',
    "dags/sync_orders.py": """
import os
import pathlib

from airflow.sdk import dag, task
from include.greeting import HELLO

@dag(schedule=None)
def sync_commercetools_orders():
    @task
    def greet():
        pathlib.Path(os.environ["COMPANY"], "greeting").write_text(HELLO)
    greet()

sync_commercetools_orders()
""",
}


class Company:
    """An Airflow of its own: our wheel is installed, our `dags` folder is its second bundle, the plugin is copied."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder, self.port = folder, free_port()
        for name, content in COMPANY.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
        (folder / "plugins").mkdir()
        shutil.copy(PROJECT / "plugins" / "hub_plugin.py", folder / "plugins" / "hub_plugin.py")
        self.python = _environment_with_the_wheel(folder / "venv")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "HUB_", "PYTHON"))}
        bundles = {"company": folder / "dags", "crossdock": PROJECT / "dags"}
        self.environment = {
            **kept,
            "PYTHONPATH": str(folder),
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder / "plugins"),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(
                [
                    {
                        "name": name,
                        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                        "kwargs": {"path": str(path)},
                    }
                    for name, path in bundles.items()
                ]
            ),
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.port}/execution/",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{self.port}",
            "AIRFLOW__API__SECRET_KEY": "made-up-for-a-test",
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": "made-up-for-a-test, and long enough to sign with" * 2,
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": "1",
            "COMPANY": str(folder),
            "HUB_ID_PREFIX": PREFIX,
            **settings,
        }
        (folder / "passwords.json").write_text('{"admin": "admin"}')

    def api(self) -> AirflowApi:
        return AirflowApi(f"http://127.0.0.1:{self.port}", "admin", "admin")

    @contextmanager
    def running(self) -> Iterator[AirflowApi]:
        """Airflow's own processes, as the company starts them; we add none."""
        self._airflow("db", "migrate").wait()
        processes = [
            self._airflow("api-server"),
            self._airflow("scheduler", "--skip-serve-logs"),
            self._airflow("dag-processor"),
        ]
        try:
            yield self.api()
        finally:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
            for process in processes:
                process.wait(60)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()[-3000:]

    def _airflow(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{words[0]}.log").open("wb") as output:
            return subprocess.Popen(
                [self.python, "-P", "-m", "airflow", *words],
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _environment_with_the_wheel(folder: Path) -> str:
    """A Python that has this one's packages, and the wheel in place of the editable install."""
    venv.create(folder, with_pip=False, symlinks=True)
    packages = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(packages), str(PROJECT)], check=True)
    (packages / "the_packages_of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return str(folder / "bin" / "python")


@pytest.fixture
def company(tmp_path: Path, shop: FakeRetailer, postgres: PostgresServer, hub_dsn: str) -> Company:
    database = hub_dsn.partition("?")[0].rpartition("/")[2]
    connections: dict[str, dict[str, Any]] = {
        "hub_db": {
            "conn_type": "postgres",
            "host": "127.0.0.1",
            "port": postgres.port,
            "login": "postgres",
            "password": "test",
            "schema": database,
        },
        "commercetools": {
            "conn_type": "commercetools",
            "host": shop.url,
            "login": shop.client_id,
            "password": shop.client_secret,
            "extra": {
                "project": shop.project,
                "token_path": "/oauth/token",
                "scope": f"view_products:{shop.project} view_orders:{shop.project}",
                "allowed_networks": ["127.0.0.0/8"],
            },
        },
    }
    settings = {
        f"AIRFLOW_CONN_{PREFIX}{name}".upper(): json.dumps(connection) for name, connection in connections.items()
    }
    # No sync starts on schedule: its run would disturb the test's run.
    settings |= {"HUB_STREAMS": UNSCHEDULED}
    return Company(
        tmp_path / "company",
        {
            **settings,
            "HUB_LANDING_URL": f"file://{tmp_path}/landing",
            "HUB_DEFINITIONS_URL": f"file://{tmp_path}/defined",
        },
    )


def state_of(api: AirflowApi, dag_id: str, conf: dict[str, Any] | None = None) -> str:
    """Run the DAG and wait for its end, as long as a busy machine needs."""
    api.unpause(dag_id)
    run_id = api.trigger(dag_id, conf)
    deadline = time.monotonic() + 600
    while (state := str(api.dag_run(dag_id, run_id)["state"])) not in {"success", "failed"}:
        assert time.monotonic() < deadline, f"{dag_id} is {state}"
        time.sleep(0.5)
    return state


@pytest.mark.e2e
def test_both_run_beside_each_other(company: Company, store: Any) -> None:
    """Neither our package nor our ids may stand in the way of what a company has."""
    with company.running() as api:
        wait_for_api(api)
        # Its connection is there already, in the environment.
        added = HubApi(api).post("/integrations", {"id": "commercetools", "kind": "commercetools"}).document
        assert "commercetools.orders" in added["streams"]
        for dag_id in (
            "sync_commercetools_orders",
            f"{PREFIX}sync_commercetools_inventory",
            f"{PREFIX}sync_commercetools_orders",
            f"{PREFIX}deliver_events",
        ):
            api.wait_for_dag(dag_id)

        assert api.get("/importErrors")["import_errors"] == []
        ids = {dag["dag_id"] for dag in api.get("/dags", limit=100)["dags"]}
        assert {dag_id for dag_id in ids if not dag_id.startswith(PREFIX)} == {"sync_commercetools_orders"}
        assert state_of(api, "sync_commercetools_orders") == "success", company.log("scheduler")
        assert state_of(api, f"{PREFIX}sync_commercetools_inventory", {"full": True}) == "success", company.log(
            "scheduler"
        )
        assert api.get("/plugins")["plugins"][0]["name"] == "crossdock"

    assert (company.folder / "greeting").read_text() == "hello from the company"
    assert query(store, "SELECT count(*) FROM inventory") == [(1_200,)]
    assert query(store, "SELECT state, dag_id FROM sync_run") == [("done", f"{PREFIX}sync_commercetools_inventory")]


def wait_for_api(api: AirflowApi) -> None:
    deadline = time.monotonic() + 600
    while True:
        try:
            api.health()
        except AirflowUnreachable:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        else:
            return
