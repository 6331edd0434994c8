"""The DAG that drives orders: form, schedule, and one task for each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    Param,
    TriggerRule,
    task,
)
from airflow.sdk.exceptions import AirflowSkipException

from crossdock.app import order_runs
from crossdock.app.airflow.dag_alerts import dag_failed, dag_succeeded
from crossdock.app.airflow.retry_policy import RetryByKind
from crossdock.app.airflow.task_failures import explained_failures
from crossdock.app.orders import OrderDriver
from crossdock.app.services import services
from crossdock.commerce.orders.steps import OrderStepName, Sequence, step_names
from crossdock.core.errors import Terminal
from crossdock.core.ids import OWNER, order_dag, prefixed
from crossdock.core.settings import settings

#: Updated when a run has made its last step: more orders may wait than one run takes, and the next run looks at once.
_MOVED = Asset(prefixed("orders_moved"), uri=f"crossdock://{prefixed('orders_moved')}")


_TAKE = "take_orders"


class StepsFailed(Terminal):
    """A step of the run failed for all of its orders, or none could be taken; its own log says why."""


def place_order_schedule() -> Any:
    """Say when a batch is taken: by the clock, and at once after another one. None: only when somebody starts a run."""
    cron = settings().order_cron
    if cron is None:
        return None
    return AssetOrTimeSchedule(timetable=CronTriggerTimetable(cron, timezone="UTC"), assets=[_MOVED])


def place_order_options() -> Mapping[str, Any]:
    """Build the options of `@dag`, except its schedule. No `dagrun_timeout`: it would skip the compensation."""
    return {
        "dag_id": order_dag(),
        "description": "Drive orders through their steps: one by its ID, or those that wait for this DAG",
        "start_date": datetime(2026, 1, 1, tzinfo=UTC),
        "catchup": False,
        # Runs for single orders, beside a batch. Two runs never hold each other up: what one took, the other leaves.
        "max_active_runs": 8,
        "tags": ["orders"],
        "params": {
            "order_id": Param(
                None,
                type=["null", "string"],
                pattern=r"^ord_[0-9a-f]{32}$",
                title="Order",
                description="Only this order, in the run order__ORDER_ID; empty for those that wait for the DAG",
            )
        },
        "default_args": {
            "owner": OWNER,
            "retries": settings().task_retries,
            "retry_delay": timedelta(seconds=settings().retry_delay_s),
            "retry_policy": RetryByKind(),
            "on_failure_callback": dag_failed,
            # Of a task, so that the compensation is made all the same.
            "execution_timeout": timedelta(minutes=15),
        },
    }


def take_orders_task() -> Any:
    """Add the task that takes the orders of the run; only their IDs travel on."""

    @task(task_id=_TAKE)
    def take_orders(*, params: Any = None, dag_run: Any = None) -> list[str]:
        with _orders() as orders:
            order_id = params.get("order_id")
            taken = (
                order_runs.take_one(orders.store, order_id, dag_run.run_id)
                if order_id
                else order_runs.take_batch(orders.store, dag_run.run_id)
            )
        if not taken:
            raise AirflowSkipException("No order waits for this run")
        return taken

    return take_orders()


def step_tasks() -> list[Callable[[Any], Any]]:
    """
    List a task for each step, in the configured sequence; each is called with the orders that were taken.

    The steps of a commerce platform are among them: an order that no platform has passes them by.
    """
    *first, last = step_names(Sequence(settings().order_sequence), of_platform=True)
    return [*(_step_task(name, outlets=[]) for name in first), _step_task(last, outlets=[_MOVED])]


def _step_task(name: OrderStepName, *, outlets: list[Asset]) -> Callable[[Any], Any]:
    # Also after a step that failed for its orders: others are past it, and must not wait for them.
    @task(task_id=name, trigger_rule=TriggerRule.NONE_SKIPPED, outlets=outlets)
    def step(orders_taken: list[str] | None) -> dict[str, int]:
        with _orders() as orders:
            report = order_runs.make_step(orders, orders_taken or (), name)
        return msgspec.structs.asdict(report)

    return step


def compensate_task(orders_taken: Any) -> Any:
    """Add the task that undoes what was done for refused orders, whatever became of the steps."""

    @task(task_id="compensate", trigger_rule=TriggerRule.ALL_DONE, on_success_callback=dag_succeeded)
    def compensate(orders_taken: list[str] | None, *, ti: Any = None, dag_run: Any = None) -> dict[str, int]:
        if not orders_taken:
            _refuse_failed(ti, dag_run)
            raise AirflowSkipException("No order was taken")
        with _orders() as orders:
            report = order_runs.compensate(orders, orders_taken)
            _refuse_failed(ti, dag_run)
        return msgspec.structs.asdict(report)

    return compensate(orders_taken)


def _refuse_failed(ti: Any, dag_run: Any) -> None:
    """
    Fail after the compensation where a task before it failed: Airflow takes a run for good whose last task is.

    Raises:
        StepsFailed: a step failed.

    """
    names = [_TAKE, *(str(name) for name in OrderStepName)]
    found = ti.get_task_states(dag_id=dag_run.dag_id, run_ids=[dag_run.run_id], task_ids=names)
    states = found.get(dag_run.run_id, {})
    if failed := [name for name in names if states.get(name) == "failed"]:
        raise StepsFailed(
            f"What had to be undone is undone, as far as it could be. The run failed in {', '.join(failed)}, whose log says why: its open orders "
            "go on with the next run"
        )


@contextmanager
def _orders() -> Iterator[OrderDriver]:
    with explained_failures(), closing(services()) as provided:
        yield provided.orders
