"""Airflow's api-server with the hub mounted in it, as a process of its own, under both auth managers."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.stack.postgres import PostgresServer
from tests.api.airflow_server import PEOPLE
from tests.hub_databases import airflow_connection
from tests.shop import free_port
from tests.streams import define_shop

PROJECT = Path(__file__).parents[2]
JWT_SECRET = "of-no-use-elsewhere-" * 4
SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
_START_S = 900
_databases = itertools.count()


@dataclass
class Hub:
    """A running api-server, and how a test speaks to it."""

    url: str
    #: The hub's own database.
    dsn: str
    log: Path
    #: Airflow's metadata, where connections are.
    metadata: Path
    #: The snapshots of which integrations exist. A test that adds an integration replaces them.
    definitions: Path
    #: The folder of declared integrations.
    declarations: Path
    _tokens: dict[str, str] = field(default_factory=dict)

    def token(self, name: str) -> str:
        if name not in self._tokens:
            body = {"username": name, "password": name * 2}
            answer = requests.post(f"{self.url}/auth/token", json=body, timeout=120)
            answer.raise_for_status()
            self._tokens[name] = answer.json()["access_token"]
        return self._tokens[name]

    def call(self, method: str, path: str, name: str | None = "admin", **options: Any) -> requests.Response:
        """Call `/v1/…` as one of PEOPLE; None for a caller without a token. A POST has a fresh idempotency key."""
        keyed = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        signed = {"Authorization": f"Bearer {self.token(name)}"} if name else {}
        headers = {**keyed, **signed, **options.pop("headers", {})}
        return requests.request(
            method, f"{self.url}/hub{path}", headers=headers, timeout=240, allow_redirects=False, **options
        )

    def airflow(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token('admin')}"}
        return requests.request(method, f"{self.url}/api/v2{path}", headers=headers, timeout=240, **options)

    def store(self) -> Store:
        return Store(self.dsn)

    def airflow_knows(
        self, dag_id: str, file: str, *, written_at: datetime | None = None, took_s: float | None = None
    ) -> None:
        """Airflow's DAG processor has parsed the DAG; *written_at* is when it wrote the result. There is none beside this server."""
        at = written_at.strftime("%Y-%m-%d %H:%M:%S.%f") if written_at else None
        with closing(sqlite3.connect(self.metadata)) as metadata, metadata:
            metadata.execute("INSERT OR IGNORE INTO dag_bundle (name, active) VALUES ('ours', 1)")
            metadata.execute(
                "INSERT OR REPLACE INTO dag (dag_id, bundle_name, fileloc, relative_fileloc, is_paused, is_stale, max_active_tasks,"
                " max_consecutive_failed_dag_runs, has_task_concurrency_limits, timetable_type, fail_fast,"
                " partition_mapper_info, last_parsed_time, last_parse_duration)"
                " VALUES (?, 'ours', ?, ?, 0, 1, 1, 0, 0, 'none', 0, '{}', ?, ?)",
                (dag_id, f"/dags/{file}", file, at, took_s),
            )


def _environment(folder: Path, dsn: str, auth_manager: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "HUB_"))}
    return {
        **kept,
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW_API_APPS": "core",
        "AIRFLOW__CORE__AUTH_MANAGER": auth_manager,
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__FERNET_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
            f"{name}:{'user' if role == 'developer' else role}" for name, role in PEOPLE.items() if role != "public"
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW__API_AUTH__JWT_SECRET": JWT_SECRET,
        "AIRFLOW__API__SECRET_KEY": "made-up-for-a-test",
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "AIRFLOW_CONN_HUB_DB": json.dumps(airflow_connection(dsn)),
        "HUB_DEVELOPERS": "dora" if auth_manager == SIMPLE else "",
        "HUB_DECLARATIONS": str(folder / "integrations"),
        "HUB_MAIL_FROM": "The Shop <orders@shop.example>",
        "HUB_DEFINITIONS_URL": define_shop(folder / "definitions"),
    }


def serve(folder: Path, postgres: PostgresServer, auth_manager: str) -> Iterator[Hub]:
    name = f"hub_api_{next(_databases)}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE hub_template STRATEGY file_copy")
    (folder / "dags").mkdir()
    (folder / "integrations").mkdir()
    (folder / "passwords.json").write_text(json.dumps({person: person * 2 for person in PEOPLE}))
    environment = _environment(folder, postgres.dsn(name), auth_manager)
    command = [sys.executable, "-P", "-m", "airflow", "db", "migrate"]
    migrated = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert migrated.returncode == 0, migrated.stderr[-3000:]
    port, log = free_port(), folder / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, str(PROJECT / "tests/api/airflow_server.py"), str(port)],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(f"http://127.0.0.1:{port}/api/v2/version", server, log)
            yield Hub(
                f"http://127.0.0.1:{port}",
                postgres.dsn(name),
                log,
                metadata=folder / "airflow.db",
                definitions=folder / "definitions",
                declarations=folder / "integrations",
            )
        finally:
            server.terminate()
            server.wait(30)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-4000:]
        try:
            requests.get(url, timeout=5)
        except requests.ConnectionError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"no api-server in {_START_S} s: {log.read_text()[-4000:]}")


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Hub]:
    """Under Airflow's simple auth manager."""
    yield from serve(tmp_path_factory.mktemp("simple"), postgres, SIMPLE)


@pytest.fixture(scope="session")
def fab_hub(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Hub]:
    """Under FAB, with its users and roles in a database."""
    yield from serve(tmp_path_factory.mktemp("fab"), postgres, FAB)


@pytest.fixture(autouse=True)
def streams_of_one_shop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin each test with the streams of one shop, in the server and here: a test that adds an integration replaces them."""
    for name in {"hub", "fab_hub", "fuzzed_hub"} & set(request.fixturenames):
        url = define_shop(request.getfixturevalue(name).definitions)
        monkeypatch.setattr(settings(), "definitions_url", url)


@pytest.fixture(scope="session")
def fuzzed_hub(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Hub]:
    """One for the fuzzer alone: what other tests left behind would decide what it finds, and what it sends would be left behind."""
    yield from serve(tmp_path_factory.mktemp("fuzzed"), postgres, SIMPLE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the server's log beside what failed: a 500 says there what went wrong, and nowhere else."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Hub):
                report.sections.append((f"log of {name}", "\n".join(value.log.read_text().splitlines()[-120:])))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Keep the tests of each server in one worker: a second one would start it again, for ten seconds of CPU.

    First, because xdist reads the marks in the same hook.
    """
    for item in items:
        for server in ("fuzzed_hub", "fab_hub", "hub"):
            if server in getattr(item, "fixturenames", ()) and Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.xdist_group(server))
                break
