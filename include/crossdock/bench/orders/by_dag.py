"""Orders that a real Airflow drives: a stack of its own, on the parts of the benchmark, and whoever starts its runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

from crossdock.app.order_runs import run_id_of
from crossdock.bench import meter
from crossdock.bench.environment import environment
from crossdock.bench.orders.measure import Driving
from crossdock.bench.orders.parts import Parts
from crossdock.bench.report import Say
from crossdock.bench.stack.steps import own_home
from crossdock.client.airflow import AirflowApi
from crossdock.client.dag_runs import wait_for_end
from crossdock.core.ids import order_dag, prefixed
from crossdock.db.database import Store
from crossdock.stack import airflow, lifecycle, processes
from crossdock.workflows.model import Driver

#: How often it looks for orders that wait.
_LOOK_S = 0.2
_RUN_TIMEOUT_S = 900.0

#: Those that no run has taken yet.
_WAITING = b"""
SELECT subject FROM execution
 WHERE driver = 'dag' AND state = 'running'
   AND NOT EXISTS (SELECT 1 FROM execution_run WHERE execution_run.execution_id = execution.execution_id)
 ORDER BY created_at
"""


class ByDag(NamedTuple):
    """The DAG `place_order`: with a *batch* of 1 each order has a run of its own, otherwise a run takes those that wait."""

    api: AirflowApi
    batch: int
    driver: Driver = Driver.DAG

    @property
    def name(self) -> str:
        return f"by the DAG, batches of {self.batch}"

    @contextmanager
    def started(self, parts: Parts) -> Iterator[Driving]:
        """Start runs while the block runs; give the CPU of the tasks, and of Airflow beside them."""
        stop = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            starter = pool.submit(self._start_runs, parts.server.dsn, stop)
            try:
                yield Driving(hub_s=_tasks_s, airflow_s=_airflow_s)
            finally:
                stop.set()
            # Without it, an Airflow that refuses a run would read as one that confirms no order.
            starter.result()

    def _start_runs(self, dsn: str, stop: threading.Event) -> None:
        with Store(dsn) as store:
            if self.batch == 1:
                self._start_singles(store, stop)
            else:
                self._start_batches(store, stop)

    def _start_singles(self, store: Store, stop: threading.Event) -> None:
        begun: set[str] = set()
        while not stop.wait(_LOOK_S):
            for order_id in _waiting(store):
                if order_id not in begun:
                    begun.add(order_id)
                    self.api.trigger(order_dag(), {"order_id": order_id}, run_id=run_id_of(order_id))

    def _start_batches(self, store: Store, stop: threading.Event) -> None:
        """One run after the other, as its asset starts them, each when a batch waits or no more orders come at the moment."""
        before = 0
        while not stop.wait(_LOOK_S):
            waiting = min(len(_waiting(store)), self.batch)
            if waiting and waiting in (before, self.batch):
                wait_for_end(self.api, order_dag(), self.api.trigger(order_dag()), timeout_s=_RUN_TIMEOUT_S)
            before = waiting


@contextmanager
def stack_on(parts: Parts, say: Say) -> Iterator[AirflowApi]:
    """Start a stack of its own whose tasks have the database and the connections of *parts*; remove it afterwards."""
    with own_home(), environment(_connections(parts)):
        api = lifecycle.up(progress=lambda line: say(f"Airflow: {line}")).api()
        api.wait_for_dag(order_dag())
        yield api


def _connections(parts: Parts) -> dict[str, str]:
    """Describe the connections as variables: Airflow looks there before it looks into its database."""
    documents = {
        f"AIRFLOW_CONN_{document['connection_id'].upper()}": json.dumps(
            {name: value for name, value in document.items() if name != "connection_id"}
        )
        for document in parts.connections
    }
    hub = parts.server.dsn.replace("postgresql://", "postgres://", 1)
    return {**documents, f"AIRFLOW_CONN_{prefixed('hub_db').upper()}": hub}


def _waiting(store: Store) -> list[str]:
    with store.transaction() as work:
        return [subject for (subject,) in work.execute(_WAITING)]


def _tasks_s() -> float:
    """Sum up the CPU of all tasks: the executor's processes and theirs, below the scheduler."""
    scheduler = processes.records()["scheduler"].pid
    return meter.cpu_s(scheduler) - meter.own_cpu_s(scheduler)


def _airflow_s() -> float:
    """Sum up the CPU of Airflow besides its tasks, its database included."""
    records = processes.records()
    whole = sum(meter.cpu_s(records[name].pid) for name in (*airflow.COMMANDS, "postgres-metadata"))
    return whole - _tasks_s()
