"""Nobody calls `up`: after a kill the stack is whole again by itself, and nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psutil
import psycopg
import pytest

from crossdock.bench.faults import check
from crossdock.bench.faults.load import Load, webhook_connection
from crossdock.client.errors import StackError
from crossdock.core.errors import HubError
from crossdock.events.webhooks_in.service import connection_of
from tests.e2e.conftest import Hub
from tests.e2e.watched import Watched, eventually

pytestmark = pytest.mark.e2e

TASK = "airflow worker -- "


@dataclass
class Loaded:
    """The stack of all e2e tests, with changes and webhooks on their way."""

    stack: Watched
    load: Load
    began: float
    dead_letters: int

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.stack.ask(statement, *values)

    def count(self, statement: str) -> int:
        return int(self.ask(statement)[0][0])

    def webhook_is_taken_after(self, at: float) -> bool:
        return any(one.is_taken and one.at > at for one in list(self.load.sent))

    def wait_until_whole(self, *, without: dict[str, int]) -> None:
        """Until each process runs, and none of *without* (name → process id) does."""

        def look() -> bool:
            self.stack.look_again()
            parts = self.stack.parts
            return all(part["state"] == "running" for part in parts.values()) and all(
                parts[name]["pid"] != pid for name, pid in without.items()
            )

        eventually(look)

    def assert_nothing_is_lost(self) -> None:
        """After a sync, which brings what no webhook could."""
        self.load.stop()
        run = eventually(self._triggered)
        assert eventually(lambda: self._end_of(run)) == "success"
        taken = [one.delivery_id for one in self.load.sent if one.is_taken]
        eventually(lambda: not check.lost_changes(self.ask, self.load.changes))

        assert check.lost_webhooks(self.ask, taken) == 0
        assert check.doubled_changes(self.ask, self.began) == 0
        assert self.count(DEAD_LETTERS) == self.dead_letters, self.ask(WHY_DEAD)

    def _triggered(self) -> str | None:
        with suppress(StackError, HubError):
            return self.stack.trigger()
        return None

    def _end_of(self, run: str) -> str | None:
        with suppress(StackError, HubError):
            state = self.stack.state(run)
            return state if state in {"success", "failed"} else None
        return None


DEAD_LETTERS = "SELECT count(*) FROM dead_letter WHERE state = 'dead'"
WHY_DEAD = "SELECT subscriber, type, subject, cause, reason, first_seen_at FROM dead_letter WHERE state = 'dead'"
HELD = "SELECT subscriber, partition FROM event_consumer WHERE expires_at > clock_timestamp()"


@pytest.fixture
def loaded(hub: Hub) -> Iterator[Loaded]:
    stack = Watched(hub, timedelta(seconds=60))
    stack.api.wait_for_dag("sync_commercetools_inventory")
    key = secrets.token_bytes(24)
    stack.api.put_connection(webhook_connection(connection_of("commercetools"), key))
    webhooks = f"{stack.parts['api-server']['url']}/hub/v1/webhooks/commercetools"
    load = Load(stack.sandbox.url, webhooks, key)
    found = Loaded(stack, load, time.time(), int(stack.ask(DEAD_LETTERS)[0][0]))
    load.start()
    # The keys of before are remembered for some seconds.
    eventually(lambda: found.webhook_is_taken_after(0))
    yield found
    load.stop()
    stack.api.delete(f"/connections/{connection_of('commercetools')}")


def test_the_hubs_database_killed_under_load_comes_back_by_itself(
    loaded: Loaded, record_property: Callable[[str, object], None]
) -> None:
    killed = loaded.stack.parts["postgres-hub"]["pid"]
    killed_at = time.time()
    os.kill(killed, signal.SIGKILL)

    loaded.wait_until_whole(without={"postgres-hub": killed})
    eventually(lambda: loaded.webhook_is_taken_after(time.time() - 2))
    record_property("recovery_s", round(time.time() - killed_at, 1))
    loaded.assert_nothing_is_lost()


def test_airflows_database_killed_under_load_comes_back_with_all_of_airflow(
    loaded: Loaded, record_property: Callable[[str, object], None]
) -> None:
    killed = loaded.stack.parts["postgres-metadata"]["pid"]
    killed_at = time.time()
    os.kill(killed, signal.SIGKILL)

    loaded.wait_until_whole(without={"postgres-metadata": killed})
    loaded.assert_nothing_is_lost()
    record_property("seconds until the next sync had ended", round(time.time() - killed_at, 1))


def test_a_delivery_worker_without_its_supervisor_ends_and_its_partitions_go_on(
    loaded: Loaded, record_property: Callable[[str, object], None]
) -> None:
    worker = eventually(lambda: delivery_task(loaded.stack))
    above = worker.parent()
    assert above is not None
    # Not every row of the table: a subscriber that is gone, as that of workflows is without a workflow, keeps its places.
    read_before = set(loaded.ask(HELD))
    assert read_before
    killed_at = time.time()
    above.kill()

    psutil.wait_procs([worker], timeout=300)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    record_property("seconds until the worker had ended", round(time.time() - killed_at, 1))
    # Its leases run out, or it gave them back: in both cases another one has its partitions.
    eventually(lambda: read_before <= set(loaded.ask(HELD)))
    loaded.assert_nothing_is_lost()


def delivery_task(stack: Watched) -> psutil.Process | None:
    """The process of a delivery task that runs now; its parent is its supervisor."""
    with suppress(psycopg.Error):
        running = stack.api.get("/dags/~/dagRuns/~/taskInstances", state="running", limit=50)["task_instances"]
        titles = {f"{TASK}{task['id']}" for task in running if task["dag_id"].startswith("deliver_events")}
        for process in psutil.process_iter():
            with suppress(psutil.Error, IndexError):
                if process.cmdline()[0].strip() in titles:
                    return process
    return None
