"""Records as the hub has them, now or at any time before."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field

from crossdock.api.access import Role, guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.problems import ProblemDocument
from crossdock.api.routing import Router
from crossdock.api.syncs import Entity, find_sync
from crossdock.api.validation import PLAIN, QueryTimestamp
from crossdock.sync import records

router = Router(prefix="/records", tags=["records"])


class RecordsDocument(BaseModel):
    """The records with one business key: more than one where several warehouses or integrations have it."""

    entity: str
    key: str
    as_of: datetime | None
    records: list[dict[str, Any]] = Field(description="Column → value, one object for each record.")


@router.get(
    "/{entity}",
    summary="Get the records with a business key",
    dependencies=[guard(Role.VIEWER)],
    responses={
        404: {"model": ProblemDocument, "description": "The hub has no record with this key, or had none then."}
    },
)
def show_records(
    store: OpenStore,
    entity: Entity,
    key: Annotated[
        str, Query(min_length=1, max_length=512, pattern=PLAIN, description="A SKU, a key, an order number.")
    ],
    as_of: Annotated[
        QueryTimestamp | None, Query(description="As they were at this time, by the source's clock.")
    ] = None,
) -> RecordsDocument:
    """Read records as they are, or as they were."""
    rows = records.look_up(store, find_sync(entity).table, entity, key, as_of=as_of)
    return RecordsDocument(entity=entity, key=key, as_of=as_of, records=rows)
