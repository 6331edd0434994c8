"""
Warehouses as they are declared: who reserves their stock, and what decides whether an order is sent from there.

A warehouse is known by the integration that says its stock and the supply channel there: `shop_eu:berlin`, or `shop_eu` where
there are no channels.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from crossdock.commerce.inventory import warehouse_repository as repository
from crossdock.core.decoding import prepare
from crossdock.core.errors import Conflict, NotFound, VersionChanged
from crossdock.db.database import Store, Work
from crossdock.integrations import repository as registry
from crossdock.observability import audit

#: The version of a warehouse that nobody has declared or heard of.
_NOT_THERE = 0


class ReservedBy(StrEnum):
    """Who holds stock for an order: one of them, or it would be held twice."""

    HUB = "hub"
    #: The platform does so by itself, such as commercetools in the modes ReserveOnOrder and ReserveOnCart.
    PLATFORM = "platform"


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """What is declared of a warehouse."""

    #: What people call it; None for no name but its ID.
    name: str | None = None
    #: The lowest is taken first.
    priority: int = 100
    #: ISO 3166 alpha-2; None where it is nearer to nobody.
    country: str | None = None
    #: What one parcel from there costs, in minor units of whatever all warehouses use.
    parcel_cost_minor: int = 0
    reserved_by: ReservedBy = ReservedBy.HUB
    #: The warehouse that this one is, of which another integration says the stock; None where its own figure counts.
    same_as: str | None = None


class Warehouse(Declared, frozen=True, kw_only=True):
    """A warehouse."""

    warehouse_id: str
    #: Counts its declarations.
    version: int


prepare(Warehouse)


class WarehouseInUse(Conflict):
    """The warehouse cannot be declared to be another one now."""


def list_all(store: Store) -> list[Warehouse]:
    """List the warehouses that stock was heard of, or that somebody declared."""
    with store.transaction() as work:
        return [msgspec.convert(row, Warehouse) for row in repository.list_all(work)]


def get(store: Store, warehouse_id: str) -> Warehouse:
    """
    Read a warehouse.

    Raises:
        NotFound: there is none with that ID.

    """
    with store.transaction() as work:
        row = repository.find(work, warehouse_id)
    if row is None:
        raise _none(warehouse_id)
    return msgspec.convert(row, Warehouse)


def declare(
    store: Store, warehouse_id: str, declared: Declared, *, actor: str, version: int | None = None
) -> Warehouse:
    """
    Declare a warehouse, also before its first stock is heard of. What is held there already stays held.

    *version* is the one that the caller has seen: 0 of one that was not there, None for any.

    Raises:
        VersionChanged: somebody else has declared it since.
        NotFound: there is no such integration, or no such warehouse to be the same as.
        WarehouseInUse: it would be declared to be another one while units of it are held or sold, or while it, or that one, is the
            other's double already.

    """
    integration_id = warehouse_id.partition(":")[0]
    with store.transaction() as work:
        if registry.find(work, integration_id) is None:
            raise NotFound(f"There is no integration {integration_id!r}, which would say the stock of {warehouse_id}")
        repository.lock_all(work)
        _refuse_changed(work, warehouse_id, version)
        if declared.same_as is not None:
            _refuse_double(warehouse_id, declared.same_as, repository.doubles(work, warehouse_id, declared.same_as))
        repository.put(work, warehouse_id, msgspec.structs.asdict(declared))
        detail = msgspec.to_builtins(declared)
        audit.add(work, actor=actor, act="warehouse.declare", subject=f"warehouse/{warehouse_id}", detail=detail)
    return get(store, warehouse_id)


def _refuse_changed(work: Work, warehouse_id: str, version: int | None) -> None:
    found = repository.find(work, warehouse_id)
    current = found["version"] if found else _NOT_THERE
    if version is not None and version != current:
        raise VersionChanged(f"The warehouse {warehouse_id}", version, current)


def _refuse_double(warehouse_id: str, same_as: str, found: repository.Doubles) -> None:
    if not found.is_there:
        raise _none(same_as)
    if found.is_double or warehouse_id == same_as:
        raise WarehouseInUse(
            f"{same_as} is itself declared to be another warehouse, or this one. Name the one that counts"
        )
    if found.has_doubles:
        raise WarehouseInUse(f"Other warehouses are declared to be {warehouse_id}. Change them first")
    if found.units_in_use:
        raise WarehouseInUse(
            f"{found.units_in_use:,} units of {warehouse_id} are held or sold, which {same_as} does not subtract. Declare it "
            "before anything is sold from there, or once its platform has counted them"
        )


def _none(warehouse_id: str) -> NotFound:
    return NotFound(f"There is no warehouse {warehouse_id!r}")
