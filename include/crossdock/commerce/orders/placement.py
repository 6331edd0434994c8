"""The terms of an order that is placed at the hub."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from crossdock.core.errors import Conflict


class OrderState(StrEnum):
    """What a customer may know of an order."""

    #: It is being checked, held and paid for.
    OPEN = "open"
    #: It is paid for, and its stock is sold to it.
    CONFIRMED = "confirmed"
    #: What was done for it is being undone.
    CANCELLING = "cancelling"
    #: Nothing of it is left: no charge, no stock.
    CANCELLED = "cancelled"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Units of one SKU, at a price."""

    sku: str
    quantity: int
    #: Of one unit, in minor units of the order's currency.
    price_minor: int
    name: str | None = None


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks to have placed."""

    reference: str
    currency: str
    lines: tuple[Line, ...]
    email: str
    customer_name: str | None = None
    #: ISO 3166 alpha-2: where it goes.
    country: str | None = None
    #: Gateway → the token of the payment method there.
    payment_methods: Mapping[str, str]
    return_url: str | None = None
    #: The integration of the commerce platform that has the order, under its reference as number; None if none has it.
    platform: str | None = None
    #: The customer's ID in the shop, by which a gateway may keep payment methods; never a name.
    customer_reference: str | None = None

    @property
    def total_minor(self) -> int:
        return sum(line.quantity * line.price_minor for line in self.lines)


class PlacedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that was placed at the hub."""

    order_id: str
    reference: str
    state: OrderState
    currency: str
    total_minor: int
    country: str | None
    email: str | None
    customer_name: str | None
    lines: tuple[Line, ...]
    payment_methods: Mapping[str, str]
    return_url: str | None
    platform: str | None
    customer_reference: str | None
    reason: str | None
    created_at: datetime
    created_by: str
    changed_at: datetime

    @property
    def wanted(self) -> dict[str, int]:
        """Units by SKU: two lines of one SKU are held together."""
        units: dict[str, int] = {}
        for line in self.lines:
            units[line.sku] = units.get(line.sku, 0) + line.quantity
        return units

    def is_of(self, new: NewOrder) -> bool:
        """Check whether this is what *new* asks for."""
        return all(getattr(self, name) == getattr(new, name) for name in (*new.__struct_fields__, "total_minor"))


class ReferenceTaken(Conflict):
    """The reference belongs to another order."""

    def __init__(self, order: PlacedOrder) -> None:
        super().__init__(
            f"The reference {order.reference!r} is that of {order.order_id}, which is another order. "
            "Use a reference of its own for each order"
        )
