"""A running stack, observed through its ledger, its processes and its retailer."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import psutil

from crossdock.client.airflow import AirflowApi
from crossdock.client.sandbox import SandboxControl
from crossdock.connectors.commercetools import Commercetools
from crossdock.db.database import Store
from crossdock.sync import Systems
from crossdock.sync.landing import Landing
from crossdock.sync.model import SyncRequest
from crossdock.sync.source import Axis, Range
from tests.chaos.promises import broken
from tests.e2e.conftest import Hub
from tests.shop import query

T = TypeVar("T")


@dataclass
class Watched:
    """The stack of *hub*, whose leases live for *lease_life*."""

    hub: Hub
    lease_life: timedelta
    parts: dict[str, dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.look_again()
        secrets = json.loads((self.home / "secrets.json").read_text())
        self._secret = secrets["sandbox_client_secret"]
        port = self.parts["postgres-hub"]["port"]
        self.dsn = f"postgresql://hub:{secrets['hub_password']}@127.0.0.1:{port}/hub"
        self.api = AirflowApi(self.parts["api-server"]["url"], "admin", secrets["admin_password"])
        self.sandbox = SandboxControl(self.parts["sandbox"]["url"])

    @property
    def home(self) -> Path:
        return Path(self.hub.environment["HUB_HOME"])

    def look_again(self) -> dict[str, dict[str, Any]]:
        """After something was started anew."""
        self.parts = {part["name"]: part for part in self.hub.json("status", exit_code=None)["processes"]}
        return self.parts

    def part(self, name: str) -> dict[str, Any]:
        """One process, as it is now."""
        return self.look_again()[name]

    def slow(self, latency_ms: int, route: str = "inventory") -> None:
        """Each page takes so long from now on; the description before it does not."""
        self.sandbox.break_down(route, ["ok", {"latency_ms": latency_ms}], repeat=True)

    def trigger(self, dataset: str = "inventory", **conf: Any) -> str:
        return self.api.trigger(f"sync_commercetools_{dataset}", conf)

    def state(self, dag_run_id: str, dataset: str = "inventory") -> str:
        return str(self.api.dag_run(f"sync_commercetools_{dataset}", dag_run_id)["state"])

    def wait_for_end(self, dag_run_id: str, dataset: str = "inventory", *, timeout_s: float = 900) -> str:
        def look() -> str | None:
            state = self.state(dag_run_id, dataset)
            return state if state in ("success", "failed") else None

        return eventually(look, timeout_s=timeout_s)

    def wait_for_page(self, dag_run_id: str, *, pages: int = 1) -> None:
        """The run is in the middle: so many of its pages have landed, and others have not."""

        def look() -> bool:
            return self.ask(
                "SELECT count(*) FROM landed_page JOIN sync_run USING (run_id) WHERE dag_run_id = %s", dag_run_id
            ) >= [(pages,)]

        eventually(look)

    def wait_for_begin(self, dag_run_id: str) -> None:
        eventually(lambda: self.ask("SELECT 1 FROM sync_run WHERE dag_run_id = %s", dag_run_id))

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the hub's database."""
        with Store(self.dsn) as store:
            return query(store, statement, *values)

    def task(self, dag_run_id: str, task_id: str, dataset: str = "inventory") -> dict[str, Any]:
        tasks = self.api.task_instances(f"sync_commercetools_{dataset}", dag_run_id)
        return next(task for task in tasks if task["task_id"] == task_id)

    def task_process(self, dag_run_id: str, task_id: str, dataset: str = "inventory") -> psutil.Process:
        """The process that runs the task; its parent is the worker that supervises it."""
        title = f"airflow worker -- {self.task(dag_run_id, task_id, dataset)['id']}"

        def look() -> psutil.Process | None:
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    if process.cmdline() and process.cmdline()[0].startswith(title):
                        return process
            return None

        return eventually(look)

    def log_of(self, dag_run_id: str, task_id: str, *, dataset: str = "inventory") -> str:
        """All that a task of the run has logged, over all its tries."""
        logs = self.home / "airflow" / "logs"
        folder = logs / f"dag_id=sync_commercetools_{dataset}" / f"run_id={dag_run_id}" / f"task_id={task_id}"
        return "\n".join(path.read_text() for path in sorted(folder.glob("*.log")))

    def kill(self, name: str) -> None:
        """`kill -9` of one of the stack's processes."""
        os.kill(self.parts[name]["pid"], signal.SIGKILL)

    def systems(self, store: Store) -> Systems:
        """What another worker, on another machine, would have."""
        landing = Landing(str(self.home / "landing"))
        return Systems(self._source(), store, landing, lease_life=self.lease_life)

    def assert_promises(self) -> None:
        """Asked until all is at rest: a killed backend needs a moment to notice."""
        until = time.monotonic() + self.lease_life.total_seconds() + 120
        shop: Any = self._shop()
        with Store(self.dsn) as store:
            while (found := broken(shop, store, overlap=timedelta(minutes=5))) and time.monotonic() < until:
                time.sleep(0.2)
        assert found == [], found

    def _source(self) -> Commercetools:
        return Commercetools.signed_in(
            self.sandbox.url, "demo", client_id="crossdock", secret=self._secret, scope="view_products:demo"
        )

    def _shop(self) -> Any:
        """The retailer's stock as the checker of promises reads it."""
        source, rows, after = self._source(), [], None
        while True:
            page = source.page("inventory", Range(range_no=0, axis=Axis.ID), after)
            rows += [
                SimpleNamespace(id=row["id"], version=row["version"], modified_at=row["lastModifiedAt"], document=row)
                for row in json.loads(page.body)["results"]
            ]
            if page.last:
                break
            after = page.cursor
        collection = SimpleNamespace(rows=lambda: rows)
        return SimpleNamespace(state=SimpleNamespace(collection=lambda _: collection))


FULL = SyncRequest(full=True)


def eventually(look: Callable[[], T | None], *, timeout_s: float = 900) -> T:
    """What *look* gives, as soon as it gives anything."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.1)
    return found
