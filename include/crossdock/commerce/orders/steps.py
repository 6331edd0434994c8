"""The steps of an order, each beside its undo, in one of two configured sequences."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from crossdock.commerce.orders import events, placed_repository
from crossdock.commerce.orders.events import OrderStep
from crossdock.commerce.orders.placement import OrderState, PlacedOrder
from crossdock.commerce.orders.ports import Ports
from crossdock.db.database import Work
from crossdock.events import store as event_store
from crossdock.events.event_type import EventType
from crossdock.events.model import NewEvent
from crossdock.integrations.actions.model import Done, Ended
from crossdock.workflows.model import (
    Change,
    Direction,
    Execution,
    ExecutionState,
    Finished,
    Flow,
    InHub,
    NeedsPerson,
    Outside,
    Retry,
    Step,
    StepCall,
    StepEnded,
    StepKind,
    StepState,
    TurnedBack,
)

SOURCE = "crossdock/orders"


class Sequence(StrEnum):
    """In which order stock is held and money is authorised."""

    RESERVE_FIRST = "reserve_first"
    PAY_FIRST = "pay_first"


class OrderStepName(StrEnum):
    CHECK_CUSTOMER = "check_customer"
    RESERVE_STOCK = "reserve_stock"
    AUTHORISE_PAYMENT = "authorise_payment"
    SCHEDULE_SHIPMENT = "schedule_shipment"
    KEEP_STOCK = "keep_stock"
    CAPTURE_PAYMENT = "capture_payment"
    SELL_STOCK = "sell_stock"
    SEND_CONFIRMATION = "send_confirmation"


_DONE_EVENTS: dict[str, EventType] = {
    OrderStepName.CHECK_CUSTOMER: events.CUSTOMER_CHECKED,
    OrderStepName.RESERVE_STOCK: events.INVENTORY_RESERVED,
    OrderStepName.AUTHORISE_PAYMENT: events.PAYMENT_AUTHORISED,
    OrderStepName.SCHEDULE_SHIPMENT: events.SHIPMENT_SCHEDULED,
    OrderStepName.CAPTURE_PAYMENT: events.PAYMENT_CAPTURED,
    OrderStepName.SELL_STOCK: events.ORDER_CONFIRMED,
}

#: The types by which an order goes on.
EVENT_TYPES = (
    events.ORDER_CREATED.name,
    *(found.name for found in _DONE_EVENTS.values()),
    events.ORDER_PROGRESSED.name,
    events.ORDER_CANCELLING.name,
)

#: A customer may have to act for so long; then the order is cancelled.
TIMEOUT = timedelta(minutes=30)
#: A payment that waits for its customer, or for its gateway's word, is asked about until the time is up.
_UNTIL_TIMEOUT = Retry(attempts=200, first_wait_s=1.0, longest_wait_s=15.0)
#: What comes after the pivot goes on for a day before a person is asked.
_FOR_A_DAY = Retry(attempts=300, first_wait_s=1.0, longest_wait_s=300.0)


def flow_name(sequence: Sequence) -> str:
    return f"order.{sequence}.v1"


def flows(ports: Ports) -> dict[str, Flow]:
    """Build both flows of orders, by their names."""
    return {flow_name(sequence): _flow(ports, sequence) for sequence in Sequence}


def _flow(ports: Ports, sequence: Sequence) -> Flow:
    name = OrderStepName
    reserve = Step(name=name.RESERVE_STOCK, act=_in_hub(ports.stock.reserve), undo=_in_hub(ports.stock.release))
    authorise = Step(
        name=name.AUTHORISE_PAYMENT,
        act=_outside(ports, ports.money.authorise),
        undo=_outside(ports, ports.money.void),
        undo_resolves=True,
        retry=_UNTIL_TIMEOUT,
    )
    held_and_paid = (reserve, authorise) if sequence is Sequence.RESERVE_FIRST else (authorise, reserve)
    return Flow(
        name=flow_name(sequence),
        timeout=TIMEOUT,
        on_change=_on_change,
        steps=(
            Step(name=name.CHECK_CUSTOMER, act=_outside(ports, ports.customers.check)),
            *held_and_paid,
            Step(
                name=name.SCHEDULE_SHIPMENT,
                act=_in_hub(ports.shipping.schedule),
                undo=_in_hub(ports.shipping.cancel),
            ),
            # What is held must not run out while its money is taken. The undo of `reserve_stock` gives it back.
            Step(name=name.KEEP_STOCK, act=_in_hub(ports.stock.keep)),
            Step(
                name=name.CAPTURE_PAYMENT,
                kind=StepKind.PIVOT,
                act=_outside(ports, ports.money.capture),
                undo=_outside(ports, ports.money.refund),
                undo_resolves=True,
                retry=_UNTIL_TIMEOUT,
            ),
            Step(name=name.SELL_STOCK, kind=StepKind.RETRIABLE, act=_in_hub(ports.stock.sell), retry=_FOR_A_DAY),
            # After the point of no return, or an order could be confirmed to a customer and cancelled.
            Step(
                name=name.SEND_CONFIRMATION,
                kind=StepKind.RETRIABLE,
                act=_outside(ports, ports.confirmations.send),
                retry=_FOR_A_DAY,
            ),
        ),
    )


def _in_hub(run: Callable[[Work, PlacedOrder], Ended]) -> InHub:
    def effect(work: Work, call: StepCall) -> Ended:
        return run(work, placed_repository.get(work, call.subject))

    return InHub(effect)


def _outside(ports: Ports, run: Callable[[PlacedOrder, StepCall], Ended]) -> Outside:
    def effect(call: StepCall) -> Ended:
        order = ports.read(call.subject)
        return _without_person(run(order, call), order)

    return Outside(effect)


def _without_person(ended: Ended, order: PlacedOrder) -> Ended:
    """Hide who ordered where a system quotes it in its reason: reasons are kept longer than the customer, and shown to all."""
    if isinstance(ended, Done):
        return ended
    message = ended.message
    for quoted in (order.email, order.customer_name):
        message = message.replace(quoted, "[hidden]") if quoted else message
    return msgspec.structs.replace(ended, message=message)


def created(order: PlacedOrder) -> NewEvent:
    """Build the event that an order was placed."""
    return _event(events.ORDER_CREATED, order, "place_order", StepState.DONE)


def _on_change(work: Work, execution: Execution, change: Change) -> None:
    """Let the order's state and an event follow from a change, in its transaction."""
    match change:
        case StepEnded(step=step, direction=direction, state=state):
            confirmed = (step, direction, state) == (OrderStepName.SELL_STOCK, Direction.ACT, StepState.DONE)
            order = _order(work, execution, OrderState.CONFIRMED if confirmed else None)
            if state in (StepState.FAILED, StepState.UNKNOWN):
                # It is tried again at its time; an event would have it looked at now.
                return
            name = step if direction is Direction.ACT else f"undo_{step}"
            is_named = direction is Direction.ACT and state is StepState.DONE
            _append(
                work,
                _DONE_EVENTS.get(step, events.ORDER_PROGRESSED) if is_named else events.ORDER_PROGRESSED,
                order,
                name,
                state,
            )
        case TurnedBack(reason=reason):
            order = _order(work, execution, OrderState.CANCELLING, reason)
            _append(work, events.ORDER_CANCELLING, order, "cancel", StepState.OPEN)
        case Finished(state=ExecutionState.UNDONE):
            order = _order(work, execution, OrderState.CANCELLED)
            _append(work, events.ORDER_CANCELLED, order, "cancel", StepState.DONE)
        case Finished() | NeedsPerson():
            return


def _order(work: Work, execution: Execution, state: OrderState | None, reason: str | None = None) -> PlacedOrder:
    if state is not None:
        placed_repository.set_state(work, execution.subject, state, reason)
    return placed_repository.get(work, execution.subject)


def _append(work: Work, event_type: EventType, order: PlacedOrder, step: str, state: StepState) -> None:
    event_store.append(work, [_event(event_type, order, step, state)])


def _event(event_type: EventType, order: PlacedOrder, step: str, state: StepState) -> NewEvent:
    data = OrderStep(order_id=order.order_id, reference=order.reference, step=step, outcome=state)
    return NewEvent(
        source=SOURCE,
        type=event_type.name,
        subject=order.order_id,
        time=datetime.now(UTC),
        partition_key=order.order_id,
        correlation_id=order.order_id,
        data=msgspec.json.encode(data).decode(),
    )
