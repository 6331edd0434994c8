"""The audit trail over HTTP: who changed what, from what to what."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import Query
from pydantic import BaseModel, Field

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.pagination import Limit, cursor_like
from crossdock.api.routing import Router
from crossdock.api.validation import PLAIN, QueryTimestamp
from crossdock.app import personal_data
from crossdock.core.roles import Caller, Role
from crossdock.observability import audit
from crossdock.observability.audit import Entry

router = Router(prefix="/audit", tags=["hub"])


class EntryDocument(BaseModel):
    """One entry of the audit trail."""

    entry_id: int
    at: datetime
    actor: str = Field(description="`airflow:` and the user's name; the hub's own work has other names.")
    act: str = Field(examples=["integration.change", "quarantine.discard", "personal_data.reveal"])
    subject: str = Field(description="What was changed.", examples=["integration/shop_eu"])
    detail: dict[str, Any] = Field(
        description="`changed` names each changed field with `from` and `to`. A reason, in a person's own words, is masked "
        "for all but operators and administrators. Never a secret."
    )


class EntriesPage(BaseModel):
    """One page of the audit trail."""

    entries: list[EntryDocument]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last page.")


@router.get("", summary="List entries of the audit trail, latest first")
def list_entries(
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.VIEWER)],
    actor: Annotated[str | None, Query(max_length=200, pattern=PLAIN)] = None,
    subject: Annotated[str | None, Query(max_length=300, pattern=PLAIN)] = None,
    act: Annotated[
        str | None,
        Query(max_length=100, pattern=PLAIN, description="`integration.change`, or `integration` for all of them."),
    ] = None,
    since: QueryTimestamp | None = None,
    until: QueryTimestamp | None = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,18}$")] = None,
    limit: Limit = 50,
) -> EntriesPage:
    """List who changed what. The chain of hashes is verified where the database is: `audit verify`."""
    with store.transaction() as work:
        found = audit.find(
            work,
            actor=actor,
            subject=subject,
            act=act,
            since=since,
            until=until,
            before=int(cursor) if cursor else None,
            limit=limit + 1,
        )
    page = found[:limit]
    return EntriesPage(
        entries=[_document(entry, caller) for entry in page],
        next_cursor=str(page[-1].entry_id) if len(found) > limit else None,
    )


def _document(entry: Entry, caller: Caller) -> EntryDocument:
    fields = msgspec.structs.asdict(entry)
    return EntryDocument(**{**fields, "detail": personal_data.masked_detail(entry.detail, caller)})
