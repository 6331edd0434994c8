"""
Hold stock for orders, sell it, and give it back: in the caller's transaction, and never more than there is.

What is held runs out after a time, unless its order is being paid for. All lock the stock first, in one order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from crossdock.commerce.inventory import reservation_repository as repository
from crossdock.commerce.inventory.repository import StockState
from crossdock.commerce.inventory.reservation_repository import HoldState
from crossdock.commerce.inventory.sourcing import Part, Rule, missing, source
from crossdock.db.database import Store, Work

#: Orders whose holds ran out, freed in one transaction.
_FREED_AT_ONCE = 100


@dataclass(frozen=True)
class Reserving:
    """How stock is held: declared by the installation."""

    rules: Sequence[Rule] = (Rule.FEWEST_PARCELS, Rule.PRIORITY, Rule.DISTANCE, Rule.COST)
    #: How long what is held waits for the payment.
    life: timedelta = timedelta(minutes=30)


@dataclass(frozen=True)
class Held:
    """What is held for an order."""

    parts: Sequence[Part]
    #: SKUs that a platform reserves by itself; the hub holds nothing of them.
    by_platform: Sequence[str]


@dataclass(frozen=True)
class OutOfStock:
    """There is not enough: units that are missing, by SKU. Nothing is held."""

    missing: Mapping[str, int]

    def __str__(self) -> str:
        return "out of stock: " + ", ".join(f"{sku} ({units:,} missing)" for sku, units in sorted(self.missing.items()))


def reserve(
    work: Work, order_id: str, wanted: Mapping[str, int], reserving: Reserving, *, country: str | None = None
) -> Held | OutOfStock:
    """
    Hold all that is *wanted* for an order, or nothing. Idempotent: what is held already is returned.

    Args:
        work: The caller's transaction.
        order_id: The order.
        wanted: SKU → units.
        reserving: How stock is held.
        country: Where it goes, ISO 3166 alpha-2.

    """
    by_platform = repository.reserved_by_platforms(work, wanted)
    ours = {sku: units for sku, units in wanted.items() if sku not in by_platform}
    places = repository.lock_places(work, ours)
    known = [held for held in repository.holds_of(work, order_id) if held.state is not HoldState.RELEASED]
    if known:
        parts = [Part(held.sku, held.warehouse_id, held.quantity) for held in known]
        return Held(parts, sorted(by_platform))
    found = source(ours, places, reserving.rules, country=country) if ours else []
    if found is None:
        return OutOfStock(missing(ours, places))
    if found:
        repository.hold(work, order_id, found, life=reserving.life)
    return Held(found, sorted(by_platform))


def keep(
    work: Work, order_id: str, wanted: Mapping[str, int], reserving: Reserving, *, country: str | None = None
) -> Held | OutOfStock:
    """Hold what is *wanted* until it is sold or released, however long that takes; what had run out is held anew, if it is there."""
    found = reserve(work, order_id, wanted, reserving, country=country)
    if isinstance(found, Held):
        repository.keep(work, order_id)
    return found


def sell(work: Work, order_id: str) -> None:
    """Sell what is held for an order. Idempotent."""
    repository.lock_stock_of(work, [order_id])
    repository.sell(work, order_id)


def count(work: Work, order_id: str, levels: Iterable[StockState]) -> None:
    """
    Subtract no more what was sold to an order and its platform has subtracted itself. Idempotent.

    Args:
        work: The caller's transaction.
        order_id: The order.
        levels: Stock levels that the platform said after it had counted the sale. They are taken over here, so that no older
            figure, which does not have the sale, is sold from.

    """
    said = list(levels)
    repository.lock_stock_of(work, [order_id])
    repository.set_on_hand(work, said)
    repository.count(work, order_id, [(level.sku, repository.warehouse_of(level)) for level in said])


def release(work: Work, order_id: str) -> bool:
    """Give back what is held for an order, or was sold to it; return whether there was anything. Idempotent."""
    repository.lock_stock_of(work, [order_id])
    return bool(repository.release(work, [order_id]))


def release_expired(store: Store) -> list[str]:
    """Give back what has run out; return the orders that it was held for."""
    freed: list[str] = []
    while True:
        with store.transaction() as work:
            due = repository.expired(work, limit=_FREED_AT_ONCE)
            if not due:
                return freed
            repository.lock_stock_of(work, due)
            freed += repository.release(work, due, expired=True)
        if len(due) < _FREED_AT_ONCE:
            return freed
