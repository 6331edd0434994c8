"""The availability of a SKU over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from fastapi import Path
from fastapi.responses import Response
from pydantic import BaseModel, Field, StrictBool

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.idempotency import KEYED, Keep, OneEffect
from crossdock.api.problems import ProblemDocument
from crossdock.api.routing import Router
from crossdock.api.selection import Strict
from crossdock.api.validation import PLAIN
from crossdock.commerce.inventory import repository as inventory_repository
from crossdock.commerce.inventory import service as inventory_service
from crossdock.commerce.inventory.service import Rebuilt
from crossdock.core.roles import Caller, Role

router = Router(tags=["availability"])


class AvailabilityDocument(BaseModel):
    """Units of a SKU that can be sold."""

    sku: str
    available: int = Field(
        description="Units over all warehouses, without what is held for orders at the hub or sold to them. An oversold warehouse "
        "counts as 0."
    )
    available_at_source: int = Field(description="Units over all warehouses, as their sources count them.")
    held: int = Field(description="Units that are held for orders at the hub.")
    sold: int = Field(description="Units that the hub has sold and the source has not subtracted yet.")
    warehouses: int
    as_of: datetime = Field(description="The time of the newest stock event.")
    waiting: int = Field(
        description="How many later versions of its stock entries wait in quarantine. Of each, the lower figure counts."
    )


class RebuildRequest(Strict):
    """Whether to replace the model."""

    replace: StrictBool = Field(description="Replace the model by the rebuilt one; false only compares the two.")


class RebuiltDocument(BaseModel):
    """The result of a rebuild."""

    events: int
    differences: int = Field(description="Rows in which the two differed; 0 means byte for byte the same.")
    replaced: bool


@router.get(
    "/availability/{sku}",
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
    return AvailabilityDocument.model_validate(msgspec.structs.asdict(found))


@router.post(
    "/availability-rebuilds",
    summary="Rebuild the read model of availability from the event store",
    response_model=RebuiltDocument,
    responses=KEYED,
)
def rebuild_availability(
    store: OpenStore, caller: Annotated[Caller, guard(Role.OPERATOR)], request: OneEffect, body: RebuildRequest
) -> Response:
    """
    Rebuild the model from all stock events and compare it with the current one; replace that only if asked to.

    The answer comes when it is done, after minutes for millions of events. Delivery goes on meanwhile.
    """

    def rebuild(keep: Keep) -> None:
        inventory_service.rebuild(
            store,
            replace=body.replace,
            actor=caller.actor,
            on_compared=lambda work, found: keep(work, _rebuilt(found)),
        )

    return request.once_outside(rebuild)


def _rebuilt(found: Rebuilt) -> RebuiltDocument:
    return RebuiltDocument(events=found.events, differences=found.differences, replaced=found.replaced)
