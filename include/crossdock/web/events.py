"""Events: the latest by type and key, and one with its data."""

from __future__ import annotations

import json
import re
from typing import Annotated

import msgspec
from fastapi import Path, Request
from fastapi.responses import HTMLResponse

from crossdock.api.access import guard
from crossdock.api.dependencies import EVENT_ID, OpenStore, Router, cursor_like
from crossdock.app import personal_data
from crossdock.app.causation import causation_of
from crossdock.app.event_types import event_types
from crossdock.app.services import services
from crossdock.app.subscribers import subscribers
from crossdock.core.roles import Caller, Role
from crossdock.events import store as event_store
from crossdock.events.delivery import consumption_repository
from crossdock.events.model import END, Position, parse_event_id
from crossdock.events.store import Selection
from crossdock.sync import ledger
from crossdock.sync.ledger import Run
from crossdock.web.documents import lines_of
from crossdock.web.filters import Filter
from crossdock.web.page import show

router = Router()

Viewer = Annotated[Caller, guard(Role.VIEWER)]
_ON_A_PAGE = 50
#: The form of a run's ID, by which what it wrote is correlated.
_RUN = re.compile(r"[a-z]+-\d{8}T\d{6}-[0-9a-f]{8}")


@router.get("/events")
def list_events(
    request: Request,
    store: OpenStore,
    caller: Viewer,
    type: Filter = None,  # noqa: A002  the attribute's name
    key: Filter = None,
    run: Filter = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,9}\.[0-9]{1,18}\.[0-9]{1,18}$")] = None,
) -> HTMLResponse:
    """List the latest first, those of backfills included. Personal data is masked."""
    types = event_types()
    before = Position(*map(int, cursor.split("."))) if cursor else END
    selection = Selection(types=types.known([type] if type else ()), key=key, before=before, silent=True)
    with store.transaction() as work:
        if run:
            selection = _of_run(ledger.get(work, run), selection)
        found = event_store.newest(work, selection, limit=_ON_A_PAGE + 1, is_brief=True)[::-1]
    page = found[:_ON_A_PAGE]
    return show(
        request,
        caller,
        "events.html",
        events=[personal_data.masked_event(event) for event in page],
        types=types.names,
        asked={"type": type, "key": key, "run": run},
        cursor=cursor,
        next_cursor=".".join(map(str, page[-1].at)) if len(found) > _ON_A_PAGE else None,
    )


@router.get("/events/{event_id}")
def event(
    request: Request, store: OpenStore, caller: Viewer, event_id: Annotated[str, Path(pattern=EVENT_ID)]
) -> HTMLResponse:
    """Show an event. Personal data is shown to operators only, and recorded in the audit trail."""
    with store.transaction() as work:
        found = event_store.get(work, parse_event_id(event_id))
        causation = causation_of(work, found)
        interested = [name for name, each in subscribers(services()).items() if found.type in each.types]
        consumptions = consumption_repository.consumed_by(work, found, interested)
    fields = personal_data.fields_of_event(found.type)
    is_shown = personal_data.reveal(store, caller, f"events/{event_id}", json.loads(found.data), fields)
    shown = found if is_shown else personal_data.masked_event(found)
    correlation = found.correlation_id or ""
    return show(
        request,
        caller,
        "event.html",
        event=shown,
        data=lines_of(json.loads(shown.data), ()),
        run_id=correlation if _RUN.fullmatch(correlation) else None,
        causation=causation,
        consumptions=consumptions,
    )


def _of_run(run: Run, selection: Selection) -> Selection:
    """Narrow *selection* to what *run* wrote. A batch is written before its run ends."""
    return msgspec.structs.replace(selection, correlation_id=run.run_id, since=run.started_at, until=run.finished_at)
