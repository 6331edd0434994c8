"""The tasks of `place_order`, without a scheduler: what each takes, returns, and fails by."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from crossdock.app.airflow.order_dag import StepsFailed
from crossdock.app.airflow.task_failures import TaskFailed
from crossdock.app.services import services
from crossdock.core.errors import BadRequest
from crossdock.db.database import Store
from crossdock.workflows.model import Driver
from tests.commerce.orders.placing import OrderHub, open_hub

PROJECT = Path(__file__).parents[3]
RUN = SimpleNamespace(dag_id="place_order", run_id="scheduled__1")


@pytest.fixture
def hub(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[OrderHub]:
    monkeypatch.setattr(Store, "from_connection", classmethod(lambda cls, _: cls(store.dsn)))
    with open_hub(store, monkeypatch) as opened:
        opened.stock("mug", 10)
        yield opened
    services().close()


@pytest.fixture
def tasks() -> dict[str, Any]:
    """The function of each task of the DAG file, by its name."""
    spec = importlib.util.spec_from_file_location("place_order", PROJECT / "dags/place_order.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {task.task_id: task.python_callable for task in module.dag_of_orders.tasks}


def instance(**states: str) -> SimpleNamespace:
    """A task instance whose run has tasks in these states."""
    return SimpleNamespace(get_task_states=lambda **_: {RUN.run_id: states})


def test_a_run_without_an_order_is_skipped(hub: OrderHub, tasks: dict[str, Any]) -> None:
    hub.place()
    with pytest.raises(AirflowSkipException):
        tasks["take_orders"](params={"order_id": None}, dag_run=RUN)
    with pytest.raises(AirflowSkipException):
        tasks["compensate"](None, ti=instance(), dag_run=RUN)


def test_only_ids_travel_from_task_to_task(hub: OrderHub, tasks: dict[str, Any]) -> None:
    placed = hub.place(driver=Driver.DAG)
    taken = tasks["take_orders"](params={"order_id": None}, dag_run=RUN)

    assert taken == [placed.order_id]
    assert tasks["check_customer"](taken) == {"done": 1, "refused": 0, "waiting": 0}
    assert tasks["reserve_stock"](taken) == {"done": 1, "refused": 0, "waiting": 0}
    assert tasks["compensate"](taken, ti=instance(), dag_run=RUN) == {"confirmed": 0, "cancelled": 0, "open": 1}


def test_an_order_is_run_by_its_id_in_its_own_run_only(hub: OrderHub, tasks: dict[str, Any]) -> None:
    order_id = hub.place(driver=Driver.DAG).order_id
    with pytest.raises(TaskFailed) as refused:
        tasks["take_orders"](params={"order_id": order_id}, dag_run=RUN)
    own = SimpleNamespace(dag_id="place_order", run_id=f"order__{order_id}")

    assert isinstance(refused.value.error, BadRequest)
    assert tasks["take_orders"](params={"order_id": order_id}, dag_run=own) == [order_id]


def test_a_run_in_which_a_step_failed_fails_after_its_compensation(hub: OrderHub, tasks: dict[str, Any]) -> None:
    """Airflow takes a run for good whose last task is, and the alert would be closed."""
    placed = hub.place(driver=Driver.DAG)
    with pytest.raises(TaskFailed) as failed:
        tasks["compensate"]([placed.order_id], ti=instance(authorise_payment="failed"), dag_run=RUN)

    assert isinstance(failed.value.error, StepsFailed)
    assert "authorise_payment" in str(failed.value.error)
