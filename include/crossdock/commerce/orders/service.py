"""Use cases of orders: place one, and have one cancelled."""

from __future__ import annotations

from crossdock.commerce.orders import placed_repository, steps
from crossdock.commerce.orders.placement import NewOrder, PlacedOrder, ReferenceTaken
from crossdock.core.errors import NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Store, Work
from crossdock.events import store as event_store
from crossdock.observability import audit
from crossdock.workflows import repository as executions
from crossdock.workflows import service as engine
from crossdock.workflows.model import Driver, Execution, Flow


def place(work: Work, flow: Flow, new: NewOrder, *, driver: Driver, actor: str) -> tuple[PlacedOrder, bool]:
    """
    Place an order: it, its execution and its event are committed together. Return it, and whether it is new.

    The same order again is the first one.

    Raises:
        ReferenceTaken: the reference is that of another order.

    """
    order, is_new = placed_repository.add(work, new, actor=actor)
    if not is_new:
        if not order.is_of(new):
            raise ReferenceTaken(order)
        return order, False
    engine.start(work, flow, order.order_id, steps.input_of(order), driver=driver, actor=actor)
    event_store.append(work, [steps.created(order)])
    audit.add(work, actor=actor, act="order.place", subject=f"order/{order.order_id}", detail={"driver": driver})
    return order, True


def cancel(store: Store, order_id: str, *, reason: str, actor: str) -> Execution:
    """
    Have all undone that was done for an order, at any step, also when it is confirmed.

    Raises:
        NotFound: there is no such order.

    """
    with store.transaction() as work:
        placed_repository.get(work, order_id)
        found = execution_of(work, order_id)
    return engine.cancel(store, found.execution_id, reason=reason, actor=actor)


def execution_of(work: Work, order_id: str) -> Execution:
    """
    Find the execution of an order.

    Raises:
        NotFound: there is no such order.

    """
    names = steps.flow_names()
    for found in executions.of_subject(work, order_id):
        if found.flow in names:
            return found
    raise NotFound(f"There is no order {order_id!r}", hint=Hint(HintId.LIST_ORDERS))
