"""Routes of warehouses over HTTP: who reserves their stock, and what decides whether an order is sent from there."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import Path, Response
from pydantic import BaseModel, Field, StrictInt

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.if_match import IfMatch, etag
from crossdock.api.problems import documented
from crossdock.api.routing import Router
from crossdock.api.selection import Strict, not_there
from crossdock.api.validation import PLAIN, WHOLE
from crossdock.commerce.inventory import warehouses
from crossdock.commerce.inventory.warehouses import Declared, ReservedBy, Warehouse
from crossdock.core.roles import Caller, Role

router = Router(prefix="/warehouses", tags=["orders"])

#: The integration that says its stock, and the supply channel there.
WAREHOUSE_ID = r"^[a-z][a-z0-9_]{1,62}(:[^/\x00-\x1f\x7f]{1,256})?$"
WarehouseId = Annotated[str, Path(pattern=WAREHOUSE_ID, examples=["shop_eu:4f1c2f0a-5d1e-4a5b-9b53-0d7b9c1f6a11"])]
_MOST_MINOR = 999_999_999_999


class WarehouseBody(Strict):
    """What is declared of a warehouse. A field that is not given has its default."""

    name: (
        Annotated[str, Field(min_length=1, max_length=100, pattern=PLAIN, description="What people call it, as Lyon.")]
        | None
    ) = None
    priority: Annotated[StrictInt, Field(ge=0, le=1_000_000, description="The lowest is taken first."), WHOLE] = 100
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166 alpha-2.")] | None = None
    parcel_cost_minor: Annotated[
        StrictInt,
        Field(
            ge=0, le=_MOST_MINOR, description="What one parcel costs, in minor units of whatever all warehouses use."
        ),
        WHOLE,
    ] = 0
    reserved_by: ReservedBy = Field(
        ReservedBy.HUB,
        description="Who holds stock for an order. platform: it does so by itself, as commercetools in the modes "
        "ReserveOnOrder and ReserveOnCart. A SKU that a platform reserves in any warehouse is not held by the hub at all.",
    )
    same_as: (
        Annotated[
            str,
            Field(
                pattern=WAREHOUSE_ID,
                description="The warehouse that this one is, where two integrations say the stock of one: only the figure of "
                "that one is sold from.",
            ),
        ]
        | None
    ) = None


class WarehouseDocument(BaseModel):
    """A warehouse."""

    warehouse_id: str
    name: str | None
    priority: int
    country: str | None
    parcel_cost_minor: int
    reserved_by: ReservedBy
    same_as: str | None
    version: int = Field(description="Counts its declarations; its ETag, to declare it anew.")


class WarehousesDocument(BaseModel):
    warehouses: list[WarehouseDocument]


@router.get("", summary="List warehouses", dependencies=[guard(Role.VIEWER)])
def list_warehouses(store: OpenStore) -> WarehousesDocument:
    """Those that stock was heard of, or that somebody declared."""
    return WarehousesDocument(warehouses=[_document(found) for found in warehouses.list_all(store)])


@router.get(
    "/{warehouse_id}", summary="Get a warehouse", dependencies=[guard(Role.VIEWER)], responses=not_there("warehouse")
)
def show_warehouse(store: OpenStore, warehouse_id: WarehouseId, response: Response) -> WarehouseDocument:
    return _tagged(warehouses.get(store, warehouse_id), response)


@router.put("/{warehouse_id}", summary="Declare a warehouse", responses=documented(404, 409, 412, 428))
def declare_warehouse(
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.OPERATOR)],
    warehouse_id: WarehouseId,
    version: IfMatch,
    body: WarehouseBody,
    response: Response,
) -> WarehouseDocument:
    """
    All that is declared of it is replaced. What is held there already stays held.

    The ETag of a warehouse that is not there yet is `"0"`.
    """
    declared = Declared(**body.model_dump())
    found = warehouses.declare(store, warehouse_id, declared, actor=caller.actor, version=version)
    return _tagged(found, response)


def _tagged(found: Warehouse, response: Response) -> WarehouseDocument:
    response.headers.update(etag(found.version))
    return _document(found)


def _document(found: Warehouse) -> WarehouseDocument:
    return WarehouseDocument(**msgspec.structs.asdict(found))
