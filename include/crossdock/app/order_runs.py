"""What a run of the DAG `place_order` does: it takes orders, makes one step after the other of all of them, and compensates."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from crossdock.app.orders import OrderDriver
from crossdock.commerce.orders import service, steps
from crossdock.commerce.orders.steps import OrderStepName
from crossdock.core.counted import counted
from crossdock.core.errors import BadRequest, Conflict, Transient
from crossdock.db.database import Store
from crossdock.workflows import repository as executions
from crossdock.workflows import service as engine
from crossdock.workflows.model import (
    ENDED,
    Direction,
    Driver,
    Execution,
    ExecutionState,
    StepProgress,
    StepState,
)

#: How many orders one run takes: with more, the first would wait for the last in each step.
BATCH = 200

#: A step with an answer.
_ANSWERED = frozenset({StepState.DONE, StepState.REFUSED})


class NoneGotThrough(Transient):
    """A step got through for no order of a run: what is wrong concerns all of them, such as a gateway that is down."""


class StepReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a step of a run did: how many of its orders have it behind them, were refused, and wait."""

    done: int
    refused: int
    waiting: int


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """How far the orders of a run are at its end."""

    confirmed: int
    cancelled: int
    #: They go on with the next run: they wait for their time, for their customer, or for a person.
    open: int


def run_id_of(order_id: str) -> str:
    """Name the run of the DAG for one order: Airflow refuses a second one of the same name."""
    return f"order__{order_id}"


def take_batch(store: Store, dag_run_id: str, *, limit: int = BATCH) -> list[str]:
    """Take the orders that wait for the DAG and are due, at most *limit*, for a run of it; return their IDs."""
    taken = engine.take_due(store, Driver.DAG, limit=limit, run_id=dag_run_id)
    return [execution.subject for execution in taken]


def take_one(store: Store, order_id: str, dag_run_id: str) -> list[str]:
    """
    Take one order for the run of its own; return its ID, or nothing if it has ended.

    Raises:
        NotFound: there is no such order.
        Conflict: it is driven by events.
        BadRequest: the run is not that of the order, and a second one could not be refused.

    """
    with store.transaction() as work:
        execution_id = service.execution_of(work, order_id).execution_id
    if dag_run_id != run_id_of(order_id):
        raise BadRequest(f"The run of {order_id} is {run_id_of(order_id)}, and this one is {dag_run_id}")
    execution = engine.take(store, execution_id, Driver.DAG, run_id=dag_run_id)
    if execution.driver is not Driver.DAG:
        raise Conflict(f"{order_id} is driven by {execution.driver}: one order is driven in one way at a time")
    return [] if execution.state in ENDED and execution.next_at is None else [order_id]


def make_step(orders: OrderDriver, order_ids: Collection[str], step: OrderStepName) -> StepReport:
    """
    Try *step* once for each of the orders that have come to it, several at a time.

    An order that is refused ends: it is compensated later in the run. One that waits is left to a later run.

    Raises:
        NoneGotThrough: the step got through for none of them. Calling it again tries those that are open.
        StoreUnavailable: the hub's database failed. Calling it again is safe.

    """
    taken = _taken(orders.store, order_ids)
    orders.move(_ids(taken), Driver.DAG, within=(step,))
    found = _progress(orders.store, taken, step)
    waiting = [row for row in found if row.state not in _ANSWERED]
    failed = [row for row in waiting if row.state is not StepState.WAITING]
    if failed and len(failed) == len(found):
        raise NoneGotThrough(
            f"{step} got through for none of {counted(len(failed), 'order')}, for the first because {failed[0].message or 'its worker ended'}",
            retry_in_s=_wait_s(taken, failed),
        )
    done = sum(row.state is StepState.DONE for row in found)
    return StepReport(done=done, refused=len(found) - done - len(waiting), waiting=len(waiting))


def compensate(orders: OrderDriver, order_ids: Collection[str]) -> RunReport:
    """
    Undo what was done for those of the orders that were refused or cancelled, and leave the open ones to the next run.

    Raises:
        NoneGotThrough: nothing could be undone for any of them. Calling it again is safe.
        StoreUnavailable: the hub's database failed. Calling it again is safe.

    """
    taken = _ids(_taken(orders.store, order_ids))
    orders.move(taken, Driver.DAG, within=(), undoes=True)
    engine.release(orders.store, Driver.DAG, taken)
    report = _report(orders.store, order_ids)
    # Where another order came to its end, the trouble is of those that did not, and the next run takes them.
    if not report.confirmed and not report.cancelled and (stuck := _stuck(orders.store, order_ids)):
        raise NoneGotThrough(f"Nothing could be undone for {counted(len(stuck), 'order')}, the first is {stuck[0]}")
    return report


def _stuck(store: Store, order_ids: Collection[str]) -> list[str]:
    """Find the orders whose undo has failed; one that a gateway has not decided about yet only waits."""
    undoing = [one for one in _taken(store, order_ids) if one.state is ExecutionState.UNDOING]
    with store.transaction() as work:
        rows = {one.subject: executions.steps_of(work, one.execution_id) for one in undoing}
    return [order_id for order_id, steps_made in rows.items() if any(map(_undo_failed, steps_made))]


def _undo_failed(row: StepProgress) -> bool:
    return row.direction is Direction.UNDO and row.state in (StepState.FAILED, StepState.UNKNOWN)


def _report(store: Store, order_ids: Collection[str]) -> RunReport:
    with store.transaction() as work:
        states = [execution.state for execution in executions.of_subjects(work, order_ids)]
    confirmed, cancelled = states.count(ExecutionState.COMPLETED), states.count(ExecutionState.UNDONE)
    return RunReport(confirmed=confirmed, cancelled=cancelled, open=len(states) - confirmed - cancelled)


def _taken(store: Store, order_ids: Collection[str]) -> list[Execution]:
    """Find the executions of orders that are open and driven by the DAG, also one that has ended and was cancelled since."""
    flows = steps.flow_names()
    with store.transaction() as work:
        found = executions.of_subjects(work, order_ids)
    return [
        one
        for one in found
        if one.flow in flows and one.driver is Driver.DAG and one.next_at is not None and one.waits_for is None
    ]


def _progress(store: Store, taken: Sequence[Execution], step: OrderStepName) -> list[StepProgress]:
    with store.transaction() as work:
        return executions.steps_named(work, _ids(taken), step, Direction.ACT)


def _wait_s(taken: Sequence[Execution], failed: Sequence[StepProgress]) -> float | None:
    """How long until the first of them may be tried again, by the database's clock when they were taken."""
    waits_s = [(row.next_at - taken[0].read_at).total_seconds() for row in failed if row.next_at is not None]
    return max(min(waits_s), 0.0) if waits_s else None


def _ids(found: Sequence[Execution]) -> list[str]:
    return [execution.execution_id for execution in found]
