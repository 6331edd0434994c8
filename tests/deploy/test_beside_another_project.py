"""The hub in a company's own Airflow, whose project has an `include` package and a DAG `sync_order` of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.stack.postgres import PostgresServer
from tests.shop import query

PROJECT = Path(__file__).parents[2]
PREFIX = "xd_"

#: What the company has: a package that is called as our folder is, and a DAG that is called as ours was.
COMPANY = {
    "include/__init__.py": "",
    "include/greeting.py": 'HELLO = "hello from the company"\n',
    "dags/sync_order.py": """
from airflow.sdk import dag, task
from include.greeting import HELLO

@dag(schedule=None)
def sync_order():
    @task
    def greet():
        print(HELLO)
    greet()

sync_order()
""",
}

_LIST = """
import json
from airflow.models.errors import ParseImportError
from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from sqlalchemy import select
with create_session() as session:
    print(json.dumps({
        "dags": sorted(session.scalars(select(DagModel.dag_id))),
        "errors": [error.stacktrace for error in session.scalars(select(ParseImportError))],
    }))
"""


class Company:
    """An Airflow of its own: our wheel is installed, our `dags` folder is its second bundle, the plugin is copied."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
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
            "HUB_ID_PREFIX": PREFIX,
            **settings,
        }

    def airflow(self, *words: str) -> str:
        return self.run("-m", "airflow", *words)

    def run(self, *words: str) -> str:
        ended = subprocess.run(
            [self.python, *words], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{words}\n{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
        return ended.stdout + ended.stderr


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
    return Company(tmp_path / "company", {**settings, "HUB_LANDING_URL": f"file://{tmp_path}/landing"})


@pytest.mark.e2e
def test_both_run_beside_each_other(company: Company, store: Any) -> None:
    """Neither our package nor our ids may stand in the way of what a company has."""
    company.airflow("db", "migrate")
    company.airflow("pools", "set", f"{PREFIX}commercetools", "4", "calls of commercetools")
    company.airflow("dags", "reserialize")
    listed = json.loads(company.run("-c", _LIST).splitlines()[-1])

    assert listed["errors"] == []
    assert "sync_order" in listed["dags"]
    assert [name for name in listed["dags"] if not name.startswith(PREFIX)] == ["sync_order"]
    assert {f"{PREFIX}sync_order", f"{PREFIX}backfill_order", f"{PREFIX}deliver_events"} <= set(listed["dags"])

    theirs = company.airflow("dags", "test", "sync_order")
    company.airflow("dags", "test", f"{PREFIX}sync_inventory", "--conf", '{"full": true}')

    assert "hello from the company" in theirs
    assert query(store, "SELECT count(*) FROM inventory") == [(1_200,)]
    assert query(store, "SELECT state, dag_id FROM sync_run") == [("done", f"{PREFIX}sync_inventory")]
