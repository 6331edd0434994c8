"""Records as the hub has them, now or at any time before."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.problems import ProblemDocument
from crossdock.api.routing import Router
from crossdock.api.streams import StreamId, find_stream
from crossdock.api.validation import PLAIN, QueryTimestamp
from crossdock.app import personal_data
from crossdock.core.roles import Caller, Role
from crossdock.sync import records
from crossdock.sync.quarantine.repository import Waiting

router = Router(prefix="/records", tags=["records"])


class WaitingDocument(BaseModel):
    """A version of a record that came later and waits in quarantine."""

    item_id: int
    record_id: str
    version: int
    cause: str = Field(description="The first rule that it failed.")


class RecordsDocument(BaseModel):
    """The records with one business key: more than one where several warehouses have it."""

    stream: str = Field(examples=["commercetools.inventory"])
    key: str
    as_of: datetime | None
    known_at: datetime | None
    records: list[dict[str, Any]] = Field(description="Column → value, one object for each record.")
    waiting: list[WaitingDocument] = Field(
        description="Versions of these records that came later and wait in quarantine; empty if the records are asked for as of a time."
    )


@router.get(
    "/{stream}",
    summary="Get the records with a business key",
    responses={
        404: {"model": ProblemDocument, "description": "The hub has no record with this key, or had none then."}
    },
)
def show_records(
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.VIEWER)],
    stream: StreamId,
    key: Annotated[
        str,
        Query(
            min_length=1, max_length=512, pattern=PLAIN, description="A SKU, a key, an order number, an e-mail address."
        ),
    ],
    as_of: Annotated[
        QueryTimestamp | None,
        Query(description="As they were at this time, by the source's clock and by all that the hub knows by now."),
    ] = None,
    known_at: Annotated[
        QueryTimestamp | None,
        Query(
            description="As the hub had them at this time, by its own clock; with `as_of`, what it would have answered then."
        ),
    ] = None,
) -> RecordsDocument:
    """Read records. Personal data is shown to operators only, and recorded in the audit trail."""
    found = find_stream(stream)
    rows = records.look_up(store, found, key, at=as_of, known_at=known_at)
    waiting = [] if as_of or known_at else records.waiting(store, found, rows)
    fields = personal_data.fields_of(found.dataset.name)
    # The trail is kept for ever, and many may read it: a key that is personal is not in it.
    named = rows[0]["id"] if personal_data.has_personal_key(found.dataset.name) else key
    is_shown = personal_data.reveal(store, caller, f"records/{stream}/{named}", rows, fields)
    shown = rows if is_shown else personal_data.masked(rows, fields)
    return RecordsDocument(
        stream=stream,
        key=key,
        as_of=as_of,
        known_at=known_at,
        records=shown,
        waiting=[_waiting(one) for one in waiting],
    )


def _waiting(found: Waiting) -> WaitingDocument:
    return WaitingDocument(item_id=found.item_id, record_id=found.record_id, version=found.version, cause=found.cause)
