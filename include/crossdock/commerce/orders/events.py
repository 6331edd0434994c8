"""What happens to an order on its way: one event for each step, by which the next step begins."""

from __future__ import annotations

import msgspec

from crossdock.events.event_type import EventType


class OrderStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step of an order has ended, or its undo."""

    order_id: str
    #: The caller's own reference of the order.
    reference: str
    step: str
    #: done, nothing, refused, failed or unknown.
    outcome: str


ORDER_CREATED = EventType("crossdock.order.created", OrderStep, key="order_id")
CUSTOMER_CHECKED = EventType("crossdock.order.customer_checked", OrderStep, key="order_id")
INVENTORY_RESERVED = EventType("crossdock.order.inventory_reserved", OrderStep, key="order_id")
PAYMENT_AUTHORISED = EventType("crossdock.order.payment_authorised", OrderStep, key="order_id")
SHIPMENT_SCHEDULED = EventType("crossdock.order.shipment_scheduled", OrderStep, key="order_id")
PAYMENT_CAPTURED = EventType("crossdock.order.payment_captured", OrderStep, key="order_id")
ORDER_CONFIRMED = EventType("crossdock.order.confirmed", OrderStep, key="order_id")
#: Anything else on the way: a failure, a step without a name of its own, an undo.
ORDER_PROGRESSED = EventType("crossdock.order.progressed", OrderStep, key="order_id")
ORDER_CANCELLING = EventType("crossdock.order.cancelling", OrderStep, key="order_id")
ORDER_CANCELLED = EventType("crossdock.order.cancelled", OrderStep, key="order_id")
