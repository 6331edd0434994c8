"""The audit trail: who changed what."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request
from fastapi.responses import HTMLResponse

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore, Router, cursor_like
from crossdock.app import personal_data
from crossdock.core.roles import Caller, Role
from crossdock.observability import audit
from crossdock.web.filters import Filter
from crossdock.web.page import show

router = Router()

_ON_A_PAGE = 50


@router.get("/audit")
def list_entries(
    request: Request,
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.VIEWER)],
    actor: Filter = None,
    act: Filter = None,
    subject: Filter = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,18}$")] = None,
) -> HTMLResponse:
    asked = {"actor": actor, "act": act, "subject": subject}
    with store.transaction() as work:
        before = int(cursor) if cursor else None
        found = audit.find(work, actor=actor, act=act, subject=subject, before=before, limit=_ON_A_PAGE + 1)
    page = found[:_ON_A_PAGE]
    return show(
        request,
        caller,
        "audit.html",
        entries=[(entry, personal_data.masked_detail(entry.detail, caller)) for entry in page],
        asked=asked,
        cursor=cursor,
        next_cursor=page[-1].entry_id if len(found) > _ON_A_PAGE else None,
    )
