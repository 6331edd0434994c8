"""The steps of an order, each beside its undo, in one of two configured sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
from crossdock.integrations.actions.model import Document, Done
from crossdock.workflows.model import (
    TRIED_AGAIN,
    Change,
    Direction,
    Execution,
    ExecutionState,
    Finished,
    FixedFlow,
    InHub,
    NeedsPerson,
    Outside,
    Retry,
    Step,
    StepCall,
    StepEnded,
    StepKind,
    StepState,
    TryEnd,
    TurnedBack,
)

SOURCE = "crossdock/orders"


class Sequence(StrEnum):
    """In which order stock is held and money is authorised."""

    RESERVE_FIRST = "reserve_first"
    PAY_FIRST = "pay_first"


class OrderStepName(StrEnum):
    TAKE_ORDER = "take_order"
    CHECK_CUSTOMER = "check_customer"
    RESERVE_STOCK = "reserve_stock"
    AUTHORISE_PAYMENT = "authorise_payment"
    SCHEDULE_SHIPMENT = "schedule_shipment"
    KEEP_STOCK = "keep_stock"
    CAPTURE_PAYMENT = "capture_payment"
    SELL_STOCK = "sell_stock"
    SEND_CONFIRMATION = "send_confirmation"
    WRITE_BACK = "write_back"
    COUNT_SALE = "count_sale"


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


def flow_name(sequence: Sequence, *, of_platform: bool = False) -> str:
    """Name the flow of orders in *sequence*; those that a commerce platform has go by one of their own."""
    return f"order.{sequence}.platform.v1" if of_platform else f"order.{sequence}.v1"


def flow_names() -> set[str]:
    """Name all flows of orders."""
    return {flow_name(sequence, of_platform=of_platform) for sequence in Sequence for of_platform in (False, True)}


def step_names(sequence: Sequence, *, of_platform: bool = False) -> tuple[OrderStepName, ...]:
    """List the steps in their order; those of an order that a platform has are all there are."""
    name = OrderStepName
    reserve, authorise = name.RESERVE_STOCK, name.AUTHORISE_PAYMENT
    names = (
        name.CHECK_CUSTOMER,
        *((reserve, authorise) if sequence is Sequence.RESERVE_FIRST else (authorise, reserve)),
        name.SCHEDULE_SHIPMENT,
        name.KEEP_STOCK,
        name.CAPTURE_PAYMENT,
        name.SELL_STOCK,
        name.SEND_CONFIRMATION,
    )
    return (name.TAKE_ORDER, *names, name.WRITE_BACK, name.COUNT_SALE) if of_platform else names


def flows(ports: Ports) -> dict[str, FixedFlow]:
    """Build the flows of orders, by their names."""
    built = [flow for sequence in Sequence for flow in (_flow(ports, sequence), _of_platform(ports, sequence))]
    return {flow.name: flow for flow in built}


def _of_platform(ports: Ports, sequence: Sequence) -> FixedFlow:
    """Build the flow of orders that a commerce platform has: the end is written to it, good or bad."""
    flow, name = _flow(ports, sequence), OrderStepName
    # Its undo is the last of all: on the platform the order is cancelled when nothing of it is left here.
    take = Step(
        name=name.TAKE_ORDER,
        act=_in_hub(ports.platform.take),
        undo=_outside(ports, ports.platform.cancel),
        # The platform had the order before.
        undo_always=True,
        retry=_FOR_A_DAY,
    )
    write_back = Step(
        name=name.WRITE_BACK,
        kind=StepKind.RETRIABLE,
        act=_outside(ports, ports.platform.confirm),
        # An order that is cancelled is not confirmed there to find out whether it was: a write that comes late names an old
        # version, or meets the cancelled order.
        undo_resolves=True,
        retry=_FOR_A_DAY,
    )
    # Until the platform has counted the sale, the hub subtracts it from what the platform says.
    count = Step(name=name.COUNT_SALE, kind=StepKind.RETRIABLE, act=InHub(_count(ports)), retry=_FOR_A_DAY)
    return replace(flow, name=flow_name(sequence, of_platform=True), steps=(take, *flow.steps, write_back, count))


def _count(ports: Ports) -> Callable[[Work, StepCall], TryEnd]:
    def effect(work: Work, call: StepCall) -> TryEnd:
        order = _order_of(call, lambda: placed_repository.get(work, call.subject))
        return ports.stock.count(work, order, call.outputs.get(OrderStepName.WRITE_BACK, {}))

    return effect


def _flow(ports: Ports, sequence: Sequence) -> FixedFlow:
    name = OrderStepName
    reserve = Step(name=name.RESERVE_STOCK, act=_in_hub(ports.stock.reserve), undo=_in_hub(ports.stock.release))
    authorise = Step(
        name=name.AUTHORISE_PAYMENT,
        act=_outside(ports, ports.money.authorise),
        undo=_outside(ports, ports.money.void),
        undo_resolves=True,
        retry=_UNTIL_TIMEOUT,
    )
    declared = (
        Step(name=name.CHECK_CUSTOMER, act=_outside(ports, ports.customers.check)),
        reserve,
        authorise,
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
            # Nobody sends it for an order that is cancelled, to find out what became of it.
            undo_resolves=True,
            retry=_FOR_A_DAY,
        ),
    )
    by_name = {step.name: step for step in declared}
    return FixedFlow(
        name=flow_name(sequence),
        timeout=TIMEOUT,
        on_change=_on_change,
        steps=tuple(by_name[step] for step in step_names(sequence)),
    )


def _in_hub(run: Callable[[Work, PlacedOrder], TryEnd]) -> InHub:
    def effect(work: Work, call: StepCall) -> TryEnd:
        return run(work, _order_of(call, lambda: placed_repository.get(work, call.subject)))

    return InHub(effect)


def _outside(ports: Ports, run: Callable[[PlacedOrder, StepCall], TryEnd]) -> Outside:
    def effect(call: StepCall) -> TryEnd:
        order = _order_of(call, lambda: ports.read(call.subject))
        return _without_person(run(order, call), order)

    return Outside(effect)


def _order_of(call: StepCall, read: Callable[[], PlacedOrder]) -> PlacedOrder:
    """Read the order once for the steps that are made in a row: what was ordered never changes, and no step asks for its state."""
    found: PlacedOrder | None = call.memo.get("order")
    if found is None:
        found = call.memo["order"] = read()
    return found


def _without_person(ended: TryEnd, order: PlacedOrder) -> TryEnd:
    """Hide who ordered where a system quotes it in its reason: reasons are kept longer than the customer, and shown to all."""
    if isinstance(ended, Done):
        return ended
    message = ended.message
    for quoted in (order.email, order.customer_name):
        message = message.replace(quoted, "[hidden]") if quoted else message
    return msgspec.structs.replace(ended, message=message)


def created(order: PlacedOrder) -> NewEvent:
    """Build the event that an order was placed."""
    return _event(events.ORDER_CREATED, order.order_id, order.reference, "place_order", StepState.DONE)


def input_of(order: PlacedOrder) -> Document:
    """Build the input of an order's execution: what its events say of it."""
    return {"reference": order.reference}


def _on_change(work: Work, execution: Execution, change: Change) -> None:
    """Let the order's state and an event follow from a change, in its transaction."""
    match change:
        case StepEnded(step=step, direction=direction, state=state):
            confirmed = (step, direction, state) == (OrderStepName.SELL_STOCK, Direction.ACT, StepState.DONE)
            if confirmed:
                placed_repository.set_state(work, execution.subject, OrderState.CONFIRMED, None)
            if state in TRIED_AGAIN:
                # It is tried again at its time; an event would have it looked at now.
                return
            name = step if direction is Direction.ACT else f"undo_{step}"
            is_named = direction is Direction.ACT and state is StepState.DONE
            _append(
                work,
                _DONE_EVENTS.get(step, events.ORDER_PROGRESSED) if is_named else events.ORDER_PROGRESSED,
                execution,
                name,
                state,
            )
        case TurnedBack(reason=reason):
            placed_repository.set_state(work, execution.subject, OrderState.CANCELLING, reason)
            _append(work, events.ORDER_CANCELLING, execution, "cancel", StepState.OPEN)
        case Finished(state=ExecutionState.UNDONE):
            placed_repository.set_state(work, execution.subject, OrderState.CANCELLED, None)
            _append(work, events.ORDER_CANCELLED, execution, "cancel", StepState.DONE)
        case Finished() | NeedsPerson():
            return


def _append(work: Work, event_type: EventType, execution: Execution, step: str, state: StepState) -> None:
    # Of an execution that began before its input had the reference, the order has it.
    reference = execution.input.get("reference") or placed_repository.get(work, execution.subject).reference
    event_store.append(work, [_event(event_type, execution.subject, reference, step, state)])


def _event(event_type: EventType, order_id: str, reference: str, step: str, state: StepState) -> NewEvent:
    data = OrderStep(order_id=order_id, reference=reference, step=step, outcome=state)
    return NewEvent(
        source=SOURCE,
        type=event_type.name,
        subject=order_id,
        time=datetime.now(UTC),
        partition_key=order_id,
        correlation_id=order_id,
        data=msgspec.json.encode(data).decode(),
    )
