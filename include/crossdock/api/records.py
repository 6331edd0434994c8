"""Records as the hub has them, now or at any time before."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field

from crossdock.api import personal_data
from crossdock.api.access import Caller, Role, guard
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
    responses={
        404: {"model": ProblemDocument, "description": "The hub has no record with this key, or had none then."}
    },
)
def show_records(
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.VIEWER)],
    entity: Entity,
    key: Annotated[
        str, Query(min_length=1, max_length=512, pattern=PLAIN, description="A SKU, a key, an order number.")
    ],
    as_of: Annotated[
        QueryTimestamp | None, Query(description="As they were at this time, by the source's clock.")
    ] = None,
) -> RecordsDocument:
    """Read records. Personal data is shown to operators only, and recorded in the audit trail."""
    rows, fields = (
        records.look_up(store, find_sync(entity).table, entity, key, as_of=as_of),
        personal_data.fields_of(entity),
    )
    is_shown = personal_data.reveal(store, caller, f"records/{entity}/{key}", rows, fields)
    shown = rows if is_shown else personal_data.masked(rows, fields)
    return RecordsDocument(entity=entity, key=key, as_of=as_of, records=shown)
