"""Dead letters in the frame of the quarantine: causes, the events of one, and one event with its data; fix, replay and discard."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from fastapi import Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from crossdock.api.access import guard
from crossdock.api.dependencies import MOST_EXACT, OpenStore, Router, cursor_like
from crossdock.app import personal_data
from crossdock.app.event_types import event_types
from crossdock.core.roles import Caller, Role
from crossdock.db.bulk_edit import MOST_DISCARDED
from crossdock.events.dead_letters import repository, service
from crossdock.events.dead_letters.repository import CauseCount, DeadLetter
from crossdock.events.replay import service as replay_service
from crossdock.sync.quarantine import repository as quarantine
from crossdock.web.documents import digest, lines_of, refuse_changed
from crossdock.web.filters import Filter
from crossdock.web.forms import Posted
from crossdock.web.page import go_to, show

router = Router()

DeadLetterId = Annotated[int, Path(ge=1, le=MOST_EXACT)]
Viewer = Annotated[Caller, guard(Role.VIEWER)]
Operator = Annotated[Caller, guard(Role.OPERATOR)]
_ON_A_PAGE = 50
#: A person may do something about it.
_OPEN = frozenset({"dead", "retrying"})


@router.get("/dead-letters")
def causes(
    request: Request,
    store: OpenStore,
    caller: Viewer,
    subscriber: Filter = None,
    cause: Filter = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,18}$")] = None,
    discarded: Annotated[int | None, Query(ge=0, le=MOST_EXACT)] = None,
) -> HTMLResponse:
    with store.transaction() as work:
        groups = repository.causes(work)
        items = quarantine.count_open(work)
        chosen = next((group for group in groups if (group.subscriber, group.cause) == (subscriber, cause)), None)
        if chosen is None and groups and not (subscriber or cause):
            chosen = groups[0]
        data = repository.data_of(work, [chosen.newest_id] if chosen else [])
        found = repository.find(
            work,
            state="dead",
            is_brief=True,
            cause=chosen.cause if chosen else cause,
            subscriber=chosen.subscriber if chosen else subscriber,
            after=int(cursor or 0),
            limit=_ON_A_PAGE + 1,
        )
    page = found[:_ON_A_PAGE]
    of = (chosen.subscriber, chosen.cause) if chosen else None
    of_cause = sum(group.dead_letters for group in groups if (group.subscriber, group.cause) == of)
    return show(
        request,
        caller,
        "dead_letters.html",
        groups=groups,
        chosen=chosen,
        reason=_reason_of(chosen, data) if chosen else "",
        of_cause=of_cause,
        items=items,
        listed=[_masked_in_list(each) for each in page],
        discarded=discarded,
        most_discarded=MOST_DISCARDED,
        cursor=cursor,
        next_cursor=page[-1].dead_letter_id if len(found) > _ON_A_PAGE else None,
    )


@router.get("/dead-letters/{dead_letter_id}")
def dead_letter(request: Request, store: OpenStore, caller: Viewer, dead_letter_id: DeadLetterId) -> HTMLResponse:
    """Show one with its event. Personal data is shown to operators only, and recorded in the audit trail."""
    with store.transaction() as work:
        found = repository.get(work, dead_letter_id)
    fields = personal_data.fields_of_event(found.event.type)
    data = [json.loads(text) for text in (found.event.data, found.edited_data) if text]
    is_shown = personal_data.reveal(store, caller, f"dead-letters/{dead_letter_id}", data, fields)
    shown = found if is_shown else _masked(found)
    text = _text_of(found)
    return show(
        request,
        caller,
        "dead_letter.html",
        found=shown,
        received=lines_of(json.loads(shown.event.data), ()),
        is_open=found.state in _OPEN,
        text=text if is_shown else None,
        digest=digest(text),
    )


@router.post("/dead-letters/{dead_letter_id}/fix")
def fix(
    request: Request, store: OpenStore, caller: Operator, dead_letter_id: DeadLetterId, form: Posted
) -> RedirectResponse:
    """Save the edit of the event's data; with `then` = replay, deliver it at once."""
    data, _ = form.document("data")
    shown = form.text("shown")
    service.edit(
        store,
        dead_letter_id,
        data,
        event_types=event_types(),
        actor=caller.actor,
        refuse_changed=lambda now: refuse_changed(shown, _text_of(now)),
    )
    if form.text("then") != "replay":
        return go_to(request, "dead-letters", dead_letter_id)
    replay = replay_service.request_dead_letters(store, [dead_letter_id], rate=None, actor=caller.actor)
    return go_to(request, "replays", replay.replay_id)


@router.post("/dead-letters/{dead_letter_id}/discard")
def discard(
    request: Request, store: OpenStore, caller: Operator, dead_letter_id: DeadLetterId, form: Posted
) -> RedirectResponse:
    service.discard(store, dead_letter_id, form.reason(), actor=caller.actor)
    return go_to(request, "dead-letters", dead_letter_id)


@router.post("/dead-letter-replays")
def replay_all(request: Request, store: OpenStore, caller: Operator, form: Posted) -> RedirectResponse:
    replay = replay_service.request_dead_letters(
        store, [], cause=form.text("cause"), subscriber=form.text("subscriber"), rate=None, actor=caller.actor
    )
    return go_to(request, "replays", replay.replay_id)


@router.post("/dead-letter-discards")
def discard_all(request: Request, store: OpenStore, caller: Operator, form: Posted) -> RedirectResponse:
    cause, subscriber = form.text("cause"), form.text("subscriber")
    chosen = service.choose(store, [], cause=cause, everything=False, subscriber=subscriber)[:MOST_DISCARDED]
    closed = service.discard_all(store, chosen, form.reason(), actor=caller.actor).closed
    return go_to(request, "dead-letters", discarded=len(closed))


def _text_of(found: DeadLetter) -> str:
    """Write the data to deliver for an editor."""
    return json.dumps(json.loads(found.edited_data or found.event.data), indent=2, ensure_ascii=False)


def _reason_of(group: CauseCount, data: Mapping[int, Sequence[str]]) -> str:
    """Say why the newest of a cause failed, without the personal values that it quotes."""
    fields = personal_data.fields_of_event(group.type)
    return personal_data.masked_reason(group.reason, fields, data.get(group.newest_id))


def _masked_in_list(found: DeadLetter) -> DeadLetter:
    """Mask one that was read without its data: nobody knows here which values its reason quotes."""
    reason = found.reason
    if reason is not None:
        reason = personal_data.masked_reason(reason, personal_data.fields_of_event(found.event.type))
    return msgspec.structs.replace(_masked(found), reason=reason)


def _masked(found: DeadLetter) -> DeadLetter:
    fields = personal_data.fields_of_event(found.event.type)
    data = [json.loads(text) for text in (found.event.data, found.edited_data) if text]
    edited = json.dumps(personal_data.masked(data[1], fields)) if found.edited_data else None
    return msgspec.structs.replace(
        found,
        event=personal_data.masked_event(found.event),
        edited_data=edited,
        reason=personal_data.without_values(found.reason, data, fields),
    )
