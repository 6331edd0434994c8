"""The availability of a SKU over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, Field

from crossdock.api.access import Role, guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.problems import ProblemDocument
from crossdock.api.routing import Router
from crossdock.api.validation import PLAIN
from crossdock.commerce.inventory import repository as inventory_repository

router = Router(prefix="/availability", tags=["availability"])


class AvailabilityDocument(BaseModel):
    """Units of a SKU that can be sold."""

    sku: str
    available: int = Field(description="Units over all warehouses. An oversold warehouse counts as 0.")
    warehouses: int
    as_of: datetime = Field(description="The time of the newest stock event.")


@router.get(
    "/{sku}",
    summary="Get the availability of a SKU",
    dependencies=[guard(Role.VIEWER)],
    responses={404: {"model": ProblemDocument, "description": "There was no stock event of that SKU."}},
)
def show_availability(
    store: OpenStore, sku: Annotated[str, Path(max_length=256, pattern=PLAIN)]
) -> AvailabilityDocument:
    """Read the units of a SKU that can be sold, over all warehouses."""
    with store.transaction() as work:
        found = inventory_repository.get(work, sku)
    return AvailabilityDocument(
        sku=found.sku, available=found.available, warehouses=found.warehouses, as_of=found.as_of
    )
