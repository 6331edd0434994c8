"""The quarantine: causes, the records of one, and one record as received beside as mapped; fix, preview, replay and discard."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from crossdock.api.access import guard
from crossdock.api.dependencies import MOST_EXACT, OpenStore, Router, cursor_like
from crossdock.app import personal_data
from crossdock.app.streams import stream_of
from crossdock.core import exact_json
from crossdock.core.errors import BadRequest
from crossdock.core.roles import Caller, Role
from crossdock.db.bulk_edit import MOST_DISCARDED
from crossdock.events.dead_letters import repository as dead_letters
from crossdock.sync.quarantine import fix_all, repository, service
from crossdock.sync.quarantine import replay as quarantine_replay
from crossdock.sync.quarantine.history import history_of
from crossdock.sync.quarantine.repository import Item
from crossdock.web.documents import digest, lines_of, refuse_changed, whole
from crossdock.web.filters import Filter
from crossdock.web.forms import Form, Posted
from crossdock.web.page import go_to, show

router = Router()

ItemId = Annotated[int, Path(ge=1, le=MOST_EXACT)]
Viewer = Annotated[Caller, guard(Role.VIEWER)]
Operator = Annotated[Caller, guard(Role.OPERATOR)]
_ON_A_PAGE = 50


@router.get("/quarantine")
def causes(
    request: Request,
    store: OpenStore,
    caller: Viewer,
    stream: Filter = None,
    cause: Filter = None,
    run: Filter = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,18}$")] = None,
    discarded: Annotated[int | None, Query(ge=0, le=MOST_EXACT)] = None,
) -> HTMLResponse:
    with store.transaction() as work:
        groups = repository.causes(work, values=0)
        dead = dead_letters.count_dead(work)
        chosen = next((group for group in groups if group.stream == stream and group.cause == cause), None)
        if chosen is None and not (cause or run):
            # A message names a stream: its most frequent cause is open.
            chosen = next((group for group in groups if stream in (None, group.stream)), None)
        of = chosen.stream if chosen else stream
        found = repository.find_briefly(
            work,
            stream=of,
            cause=chosen.cause if chosen else cause,
            run_id=run,
            after=int(cursor or 0),
            limit=_ON_A_PAGE + 1,
        )
    page = [personal_data.masked_item(item) for item in found[:_ON_A_PAGE]]
    return show(
        request,
        caller,
        "quarantine.html",
        groups=groups,
        chosen=chosen,
        dead=dead,
        items=page,
        run=run,
        discarded=discarded,
        most_discarded=MOST_DISCARDED,
        cursor=cursor,
        next_cursor=page[-1].item_id if len(found) > _ON_A_PAGE else None,
    )


@router.get("/quarantine/{item_id}")
def item(request: Request, store: OpenStore, caller: Viewer, item_id: ItemId) -> HTMLResponse:
    """Show a record. Personal data is shown to operators only, and recorded in the audit trail."""
    with store.transaction() as work:
        found = repository.get(work, item_id)
        mapped = repository.mapped_of(work, item_id)
        alike = repository.count_open(work, found)
        steps = history_of(work, item_id)
    columns = _columns(found)
    editable, sources = _of_source(found)
    documents = [service.readable(document) for document in (found.raw, found.edited) if document]
    is_shown = personal_data.reveal(store, caller, f"quarantine/{item_id}", documents, personal_data.OF_SOURCE)
    text = _text_of(found)
    shown = found if is_shown else personal_data.masked_item(found)
    if mapped and not is_shown:
        mapped = personal_data.masked_mapped(mapped, found)
    return show(
        request,
        caller,
        "quarantine_item.html",
        item=shown,
        alike=alike,
        mapped=mapped,
        received=lines_of(service.readable(shown.raw), columns.union(*(sources.get(column, ()) for column in columns))),
        columns=columns,
        sources=sources,
        editable=editable,
        steps=[(step, personal_data.masked_detail(step.detail, caller)) for step in steps],
        text=text if is_shown else None,
        digest=digest(text),
    )


@router.post("/quarantine/{item_id}/check")
def check(request: Request, store: OpenStore, caller: Operator, item_id: ItemId, form: Posted) -> HTMLResponse:
    """Say whether the record would pass as it is typed now. Nothing is saved."""
    try:
        failures, refused = service.check(store, item_id, _record(form), streams=stream_of), None
    except BadRequest as error:
        failures, refused = (), str(error)
    return show(request, caller, "quarantine_verdict.html", failures=failures, refused=refused)


@router.post("/quarantine/{item_id}/fix")
def fix(store: OpenStore, caller: Operator, request: Request, item_id: ItemId, form: Posted) -> RedirectResponse:
    """Save the edit; with `then` = replay, replay the record at once."""
    shown = form.text("shown")
    service.edit(
        store,
        item_id,
        _record(form),
        streams=stream_of,
        actor=caller.actor,
        refuse_changed=lambda now: refuse_changed(shown, _text_of(now)),
    )
    if form.text("then") != "replay":
        return go_to(request, "quarantine", item_id)
    replay = quarantine_replay.request(store, [item_id], cause=None, everything=False, actor=caller.actor)
    return go_to(request, "replays", replay.replay_id)


@router.post("/quarantine/{item_id}/discard")
def discard(store: OpenStore, caller: Operator, request: Request, item_id: ItemId, form: Posted) -> RedirectResponse:
    service.discard(store, item_id, form.reason(), actor=caller.actor)
    return go_to(request, "quarantine", item_id)


@router.post("/quarantine-previews")
def preview(request: Request, store: OpenStore, caller: Operator, form: Posted) -> HTMLResponse:
    """Show what a replay of all records of a cause would do; with the edit of one of them, if each had it."""
    stream, cause = form.text("stream"), form.text("cause")
    chosen = service.choose(store, [], cause=cause, everything=False, stream=stream)
    changes = _changes_of(store, form)
    found = fix_all.preview(store, chosen, changes, streams=stream_of)
    with store.transaction() as work:
        first = repository.get(work, chosen[0])
    return show(
        request,
        caller,
        "quarantine_preview.html",
        stream=stream,
        cause=cause,
        message=first.failures[0].message,
        preview=found,
        up_to=chosen[-1],
        changes=changes,
        changes_text=exact_json.encode(changes).decode() if changes else "",
        most=fix_all.MOST,
    )


@router.get("/quarantine-previews")
def leave_preview(request: Request, _caller: Operator) -> RedirectResponse:
    """Go to the quarantine: a preview is the answer to a form, and has no address to open again."""
    return go_to(request, "quarantine")


@router.post("/quarantine-replays")
def replay_all(request: Request, store: OpenStore, caller: Operator, form: Posted) -> RedirectResponse:
    """Replay all records of a cause that were previewed, each with the change; what was rejected since is left alone."""
    stream, cause, up_to = form.text("stream"), form.text("cause"), form.number("up_to")
    if changes := _previewed(form):
        chosen = service.choose(store, [], cause=cause, everything=False, stream=stream, up_to=up_to)
        fix_all.edit_all(store, chosen, changes, streams=stream_of, actor=caller.actor)
    replay = quarantine_replay.request(
        store, [], cause=cause, everything=False, stream=stream, up_to=up_to, actor=caller.actor
    )
    return go_to(request, "replays", replay.replay_id)


@router.post("/quarantine-discards")
def discard_all(request: Request, store: OpenStore, caller: Operator, form: Posted) -> Response:
    stream, cause = form.text("stream"), form.text("cause")
    chosen = service.choose(store, [], cause=cause, everything=False, stream=stream)[:MOST_DISCARDED]
    closed = service.discard_all(store, chosen, form.reason(), actor=caller.actor).closed
    return go_to(request, "quarantine", discarded=len(closed))


def _of_source(found: Item) -> tuple[list[str], dict[str, list[str]]]:
    """List the fields that an edit may set, and of each column those it comes from; nothing where the stream was removed."""
    try:
        stream = stream_of(found.stream)
    except BadRequest:
        return [], {}
    return service.editable_fields(stream, found), service.sources_of(stream, found)


def _columns(found: Item) -> frozenset[str]:
    """Name the columns of the rules that the record failed."""
    return frozenset(column for failure in found.failures for column in failure.column.split(", "))


def _text_of(found: Item) -> str:
    return whole(found.edited or found.raw)


def _record(form: Form) -> bytes:
    _, text = form.document("record")
    return text.encode()


def _changes_of(store: OpenStore, form: Form) -> dict[str, Any]:
    """Read what the edit of one record sets, to do the same with all that are like it."""
    if not form.has("record"):
        return {}
    _, text = form.document("record")
    item_id = form.number("item_id")
    service.check(store, item_id, text.encode(), streams=stream_of)
    with store.transaction() as work:
        found = repository.get(work, item_id)
    before = (found.edited or found.raw).decode("utf-8", "backslashreplace")
    return fix_all.changes_between(exact_json.decode(before), exact_json.decode(text))


def _previewed(form: Form) -> dict[str, Any]:
    changes, _ = form.document("changes") if form.has("changes") else ({}, "")
    if not isinstance(changes, dict):
        raise BadRequest("The change is not an object. Open the record again")
    return changes
