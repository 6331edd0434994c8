"""What can be sold of a sku now."""

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
from crossdock.commerce.inventory import repository as availability

router = Router(prefix="/availability", tags=["availability"])


class AvailabilityDocument(BaseModel):
    sku: str
    available: int = Field(description="Units over all warehouses. One that has promised more than it has counts as 0.")
    warehouses: int
    as_of: datetime = Field(description="When the newest of these levels was told.")


@router.get(
    "/{sku}",
    summary="Sellable stock of a sku over all warehouses",
    dependencies=[guard(Role.VIEWER)],
    responses={404: {"model": ProblemDocument, "description": "No event has told of that sku."}},
)
def show_availability(
    store: OpenStore, sku: Annotated[str, Path(max_length=256, pattern=PLAIN)]
) -> AvailabilityDocument:
    with store.transaction() as work:
        found = availability.get(work, sku)
    return AvailabilityDocument(
        sku=found.sku, available=found.available, warehouses=found.warehouses, as_of=found.as_of
    )
