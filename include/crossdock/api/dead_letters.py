"""Dead letters over HTTP: list them by cause, edit their data, replay and discard them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.events import ReplayDocument, replay_document
from crossdock.api.idempotency import KEYED, OneEffect
from crossdock.api.pagination import Limit, cursor_like
from crossdock.api.routing import Router
from crossdock.api.selection import (
    BulkDiscardRequest,
    DiscardedDocument,
    DiscardRequest,
    Id,
    Ids,
    SelectAll,
    SelectByCause,
    Selected,
    Selector,
    Strict,
    discarded,
    not_there,
)
from crossdock.api.validation import PLAIN
from crossdock.app import personal_data
from crossdock.app.event_types import event_types
from crossdock.core.roles import Caller, Role
from crossdock.events.dead_letters import repository as dead_letter_repository
from crossdock.events.dead_letters import service as dead_letter_service
from crossdock.events.dead_letters.repository import CauseCount, DeadLetter
from crossdock.events.replay import service as replay_service

router = Router(tags=["dead letters"])

Operator = Annotated[Caller, guard(Role.OPERATOR)]
State = Literal["dead", "retrying", "waiting", "recovered", "replayed", "discarded", "superseded", "all"]
_NONE = not_there("dead letter")


class DeadLetterDocument(BaseModel):
    """A dead letter with its event."""

    dead_letter_id: int
    subscriber: str
    state: str
    cause: str | None
    reason: str | None
    attempts: int
    first_seen_at: datetime
    last_seen_at: datetime
    next_attempt_at: datetime | None
    closed_at: datetime | None
    closed_by: str | None
    event: dict[str, Any]
    edited_data: Any = Field(None, description="The data to deliver, where somebody edited them.")


class DeadLettersPage(BaseModel):
    """One page of dead letters."""

    dead_letters: list[DeadLetterDocument]
    next_cursor: str | None = Field(description="Of the next page; null on the last.")


class CauseDocument(BaseModel):
    """The dead letters of one subscriber, event type and cause."""

    subscriber: str
    type: str
    cause: str
    dead_letters: int
    reason: str = Field(description="The reason of the newest one; personal values of its event are masked.")
    newest_id: int = Field(description="The ID of the newest one.")
    oldest_at: datetime
    newest_at: datetime


class CausesDocument(BaseModel):
    """The dead letters by cause."""

    causes: list[CauseDocument]


class ChangesBody(Strict):
    """Changes of single fields."""

    changes: dict[str, Any] = Field(description="Field of the data (dots for nested fields) and its new value.")


class DataBody(Strict):
    """The whole data, replaced."""

    data: dict[str, Any]


class _ById(Selector):
    dead_letter_ids: Ids

    def selected(self) -> Selected:
        """Return the ids."""
        return Selected(ids=self.dead_letter_ids)


class _RateLimited(Selector):
    rate: float | None = Field(None, gt=0, le=1_000_000, description="Events per second at most.")


class ReplayDeadLettersById(_ById, _RateLimited):
    """Selects dead letters by id, including closed ones."""


class ReplayDeadLettersByCause(SelectByCause, _RateLimited):
    """Selects the open dead letters of one cause."""


class ReplayAllDeadLetters(SelectAll, _RateLimited):
    """Selects all open dead letters."""


class DiscardDeadLettersById(_ById, BulkDiscardRequest):
    """Selects dead letters by id; each must be dead or retrying."""


class DiscardDeadLettersByCause(SelectByCause, BulkDiscardRequest):
    """Selects the open dead letters of one cause."""


class DiscardAllDeadLetters(SelectAll, BulkDiscardRequest):
    """Selects all open dead letters."""


@router.get("/dead-letters", summary="List dead letters", dependencies=[guard(Role.VIEWER)])
def list_dead_letters(
    store: OpenStore,
    state: State = "dead",
    cause: Annotated[str | None, Query(max_length=200, pattern=PLAIN)] = None,
    subscriber: Annotated[str | None, Query(max_length=100, pattern=PLAIN)] = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,18}$")] = None,
    limit: Limit = 50,
) -> DeadLettersPage:
    """List dead letters in the order of their ids."""
    with store.transaction() as work:
        found = dead_letter_repository.find(
            work,
            state=None if state == "all" else state,
            cause=cause,
            subscriber=subscriber,
            after=int(cursor or 0),
            limit=limit + 1,
        )
    page = found[:limit]
    return DeadLettersPage(
        dead_letters=[_document(dead_letter) for dead_letter in page],
        next_cursor=str(page[-1].dead_letter_id) if len(found) > limit else None,
    )


@router.get("/dead-letter-causes", summary="List dead letters by cause", dependencies=[guard(Role.VIEWER)])
def list_causes(store: OpenStore) -> CausesDocument:
    """List the causes of open dead letters, most frequent first."""
    with store.transaction() as work:
        found = dead_letter_repository.causes(work)
        data = dead_letter_repository.data_of(work, _with_personal_data(found))
    return CausesDocument(causes=[_cause_document(group, data) for group in found])


@router.get("/dead-letters/{dead_letter_id}", summary="Get a dead letter", responses=_NONE)
def show_dead_letter(
    store: OpenStore, caller: Annotated[Caller, guard(Role.VIEWER)], dead_letter_id: Id
) -> DeadLetterDocument:
    """Read a dead letter with its event. Personal data is shown to operators only, and recorded in the audit trail."""
    with store.transaction() as work:
        found = dead_letter_repository.get(work, dead_letter_id)
    document = dead_letter_service.document(found)
    data = [document["event"]["data"], document["edited_data"]]
    fields = personal_data.fields_of_event(found.event.type)
    if personal_data.reveal(store, caller, f"dead-letters/{dead_letter_id}", data, fields):
        return DeadLetterDocument(**document)
    return _document(found)


@router.patch("/dead-letters/{dead_letter_id}", summary="Edit the data of a dead letter", responses=_NONE)
def fix_dead_letter(
    store: OpenStore, caller: Operator, dead_letter_id: Id, body: ChangesBody | DataBody
) -> DeadLetterDocument:
    """Edit the event's data. Nothing is delivered until the dead letter is replayed."""
    if isinstance(body, DataBody):
        return _document(
            dead_letter_service.edit(store, dead_letter_id, body.data, event_types=event_types(), actor=caller.actor)
        )
    return _document(
        dead_letter_service.edit_fields(
            store, dead_letter_id, body.changes, event_types=event_types(), actor=caller.actor
        )
    )


@router.post(
    "/dead-letters/{dead_letter_id}/discard",
    summary="Discard a dead letter",
    response_model=DeadLetterDocument,
    responses=_NONE | KEYED,
)
def discard_dead_letter(
    store: OpenStore, caller: Operator, request: OneEffect, dead_letter_id: Id, body: DiscardRequest
) -> Response:
    """Close a dead letter. It is kept, and can still be replayed."""
    return request.once(
        lambda: _document(dead_letter_service.discard(store, dead_letter_id, body.reason, actor=caller.actor))
    )


@router.post(
    "/dead-letter-discards",
    summary="Discard dead letters",
    response_model=DiscardedDocument,
    responses=_NONE | KEYED,
)
def discard_dead_letters(
    store: OpenStore,
    caller: Operator,
    request: OneEffect,
    body: DiscardDeadLettersById | DiscardDeadLettersByCause | DiscardAllDeadLetters,
) -> Response:
    """Close the selected dead letters. They are kept, and can still be replayed."""
    ids, cause, everything = body.selected()
    return request.once(
        lambda: discarded(
            dead_letter_service.choose(store, ids, cause=cause, everything=everything),
            lambda chosen: dead_letter_service.discard_all(store, chosen, body.reason, actor=caller.actor),
            dry_run=body.dry_run,
        )
    )


@router.post(
    "/dead-letter-replays",
    summary="Replay dead letters",
    status_code=HTTPStatus.ACCEPTED,
    response_model=ReplayDocument,
    responses=_NONE | KEYED,
)
def replay_dead_letters(
    store: OpenStore,
    caller: Operator,
    request: OneEffect,
    body: ReplayDeadLettersById | ReplayDeadLettersByCause | ReplayAllDeadLetters,
) -> Response:
    """Replay the selected dead letters in the background. Follow or stop the replay at `/replays/{replay_id}`."""
    ids, cause, everything = body.selected()
    return request.once(
        lambda: replay_document(
            replay_service.request_dead_letters(
                store, ids, cause=cause, everything=everything, rate=body.rate, actor=caller.actor
            )
        )
    )


def _document(dead_letter: DeadLetter) -> DeadLetterDocument:
    """Represent the dead letter with its personal data masked."""
    fields = personal_data.fields_of_event(dead_letter.event.type)
    original = dead_letter_service.document(dead_letter)
    data, edited = original["event"]["data"], original["edited_data"]
    event = personal_data.masked_event(dead_letter.event)
    shown = dead_letter_service.document(msgspec.structs.replace(dead_letter, event=event))
    masked = {
        "edited_data": personal_data.masked(edited, fields),
        "reason": personal_data.without_values(original["reason"], [data, edited], fields),
    }
    return DeadLetterDocument(**{**shown, **masked})


def _with_personal_data(groups: Sequence[CauseCount]) -> list[int]:
    """Choose the dead letters whose data a reason may quote, and which it is masked by: others, of up to 1 MiB each, need not be read."""
    return [group.newest_id for group in groups if personal_data.fields_of_event(group.type) != frozenset()]


def _cause_document(group: CauseCount, data: Mapping[int, Sequence[str]]) -> CauseDocument:
    texts = data.get(group.newest_id)
    reason = personal_data.masked_reason(group.reason, personal_data.fields_of_event(group.type), texts)
    return CauseDocument(**{**msgspec.structs.asdict(group), "reason": reason})
