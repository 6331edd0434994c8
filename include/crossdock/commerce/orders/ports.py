"""What orders need of the rest of the hub; `app` provides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from crossdock.commerce.orders.placement import PlacedOrder
from crossdock.db.database import Work
from crossdock.integrations.actions.model import Document, Ended
from crossdock.workflows.model import StepCall, TryEnd


class ReadOrder(Protocol):
    """Reads a placed order, outside any transaction of the caller's."""

    def __call__(self, order_id: str) -> PlacedOrder: ...


class Customers(Protocol):
    """Who orders."""

    def check(self, order: PlacedOrder, call: StepCall) -> Ended:
        """Ask whether the customer may order. Refused for one who is blocked."""
        ...


class Stock(Protocol):
    """What is sold, in the caller's transaction."""

    def reserve(self, work: Work, order: PlacedOrder) -> Ended:
        """Hold all that is ordered, for a time; refused if there is not enough. Idempotent."""
        ...

    def keep(self, work: Work, order: PlacedOrder) -> Ended:
        """Hold it without a limit of time; refused if it ran out and is gone."""
        ...

    def sell(self, work: Work, order: PlacedOrder) -> Ended:
        """Sell what is held. Idempotent."""
        ...

    def release(self, work: Work, order: PlacedOrder) -> Ended:
        """Give back what is held or was sold. Idempotent."""
        ...

    def count(self, work: Work, order: PlacedOrder, written: Document) -> Ended:
        """Subtract no more what the platform has subtracted itself, as the output of `write_back` says. Idempotent."""
        ...


class Money(Protocol):
    """The customer's payment. Each call has one effect for each key."""

    def authorise(self, order: PlacedOrder, call: StepCall) -> TryEnd:
        """Have the amount reserved. Its output names the payment: `payment_id`."""
        ...

    def void(self, order: PlacedOrder, call: StepCall) -> TryEnd:
        """Release what is authorised, or may be; find out first what is unknown. Done if there is nothing to release."""
        ...

    def capture(self, order: PlacedOrder, call: StepCall) -> TryEnd:
        """Take the amount."""
        ...

    def refund(self, order: PlacedOrder, call: StepCall) -> TryEnd:
        """Give back what was taken, or may have been; find out first what is unknown. Done if nothing was taken."""
        ...


class Shipping(Protocol):
    """The parcels, in the caller's transaction."""

    def schedule(self, work: Work, order: PlacedOrder) -> Ended: ...

    def cancel(self, work: Work, order: PlacedOrder) -> Ended: ...


class Confirmations(Protocol):
    """The mail to the customer."""

    def send(self, order: PlacedOrder, call: StepCall) -> Ended:
        """Send it; at most one, ever."""
        ...


class Platform(Protocol):
    """The commerce platform that has the order under its reference."""

    def take(self, work: Work, order: PlacedOrder) -> Ended:
        """Take the order over from its platform; refused where no such platform is there. In the caller's transaction."""
        ...

    def confirm(self, order: PlacedOrder, call: StepCall) -> Ended:
        """Write there that the order is confirmed and paid for, once; say what the platform counted of its stock by itself."""
        ...

    def cancel(self, order: PlacedOrder, call: StepCall) -> Ended:
        """Write there that the order is cancelled, once."""
        ...


@dataclass(frozen=True)
class Ports:
    """All of them."""

    read: ReadOrder
    customers: Customers
    stock: Stock
    money: Money
    shipping: Shipping
    confirmations: Confirmations
    platform: Platform
