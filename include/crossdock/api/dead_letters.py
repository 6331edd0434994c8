"""The desk for dead letters over HTTP: grouped by cause, mended, replayed, discarded."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Query
from pydantic import BaseModel, Field

from crossdock.api.access import Caller, Role, guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.events import ReplayDocument, replay_document
from crossdock.api.pagination import Limit, cursor_like
from crossdock.api.routing import Router
from crossdock.api.selection import (
    Because,
    ByCause,
    Choice,
    Choosing,
    DiscardedDocument,
    Everything,
    ManyBecause,
    Number,
    Numbers,
    Strict,
    discarded,
    not_there,
)
from crossdock.api.validation import PLAIN
from crossdock.events.dead_letters import repository as failed_deliveries
from crossdock.events.dead_letters import service as dead_letter_desk
from crossdock.events.dead_letters.repository import Letter
from crossdock.events.replay import service as replay_events

router = Router(tags=["dead letters"])

Operator = Annotated[Caller, guard(Role.OPERATOR)]
State = Literal["dead", "retrying", "waiting", "recovered", "replayed", "discarded", "superseded", "all"]
_NONE = not_there("letter")


class LetterDocument(BaseModel):
    letter_id: int
    subscriber: str
    state: str
    cause: str | None
    reason: str | None
    attempts: int
    first_seen_at: datetime
    last_seen_at: datetime
    next_try_at: datetime | None
    closed_at: datetime | None
    closed_by: str | None
    event: dict[str, Any]
    mended: Any = Field(None, description="The data as they will be delivered, where somebody mended them.")


class LettersPage(BaseModel):
    letters: list[LetterDocument]
    next_cursor: str | None = Field(description="Of the next page; null on the last.")


class CauseDocument(BaseModel):
    subscriber: str
    type: str
    cause: str
    letters: int
    reason: str
    oldest_at: datetime
    newest_at: datetime


class CausesDocument(BaseModel):
    causes: list[CauseDocument]


class ChangesBody(Strict):
    """The fields that were wrong."""

    changes: dict[str, Any] = Field(description="Field of the data (dots go deeper) and its new value.")


class DataBody(Strict):
    """All of the data anew."""

    data: dict[str, Any]


class _ByNumber(Choosing):
    letter_ids: Numbers

    def choice(self) -> Choice:
        return Choice(numbers=self.letter_ids)


class _Paced(Choosing):
    rate: float | None = Field(None, gt=0, le=1_000_000, description="At most so many a second.")


class LettersByNumber(_ByNumber, _Paced):
    """Closed ones too."""


class LettersByCause(ByCause, _Paced):
    pass


class EveryLetter(Everything, _Paced):
    pass


class DiscardLetters(_ByNumber, ManyBecause):
    """Dead ones, or those that are tried again."""


class DiscardLettersOfCause(ByCause, ManyBecause):
    pass


class DiscardEveryLetter(Everything, ManyBecause):
    pass


@router.get("/dead-letters", summary="Letters by their numbers", dependencies=[guard(Role.VIEWER)])
def list_letters(
    store: OpenStore,
    state: State = "dead",
    cause: Annotated[str | None, Query(max_length=200, pattern=PLAIN)] = None,
    subscriber: Annotated[str | None, Query(max_length=100, pattern=PLAIN)] = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,18}$")] = None,
    limit: Limit = 50,
) -> LettersPage:
    with store.transaction() as work:
        found = failed_deliveries.find(
            work,
            state=None if state == "all" else state,
            cause=cause,
            subscriber=subscriber,
            after=int(cursor or 0),
            limit=limit + 1,
        )
    page = found[:limit]
    return LettersPage(
        letters=[_document(letter) for letter in page],
        next_cursor=str(page[-1].letter_id) if len(found) > limit else None,
    )


@router.get("/dead-letter-causes", summary="Dead letters by what failed, most first", dependencies=[guard(Role.VIEWER)])
def list_causes(store: OpenStore) -> CausesDocument:
    with store.transaction() as work:
        found = failed_deliveries.causes(work)
    return CausesDocument(causes=[CauseDocument(**msgspec.structs.asdict(each)) for each in found])


@router.get(
    "/dead-letters/{letter_id}", summary="One letter, whole", dependencies=[guard(Role.VIEWER)], responses=_NONE
)
def show_letter(store: OpenStore, letter_id: Number) -> LetterDocument:
    with store.transaction() as work:
        return _document(failed_deliveries.get(work, letter_id))


@router.patch(
    "/dead-letters/{letter_id}",
    summary="Mend an event's data; nothing is delivered until it is replayed",
    responses=_NONE,
)
def fix_letter(store: OpenStore, caller: Operator, letter_id: Number, body: ChangesBody | DataBody) -> LetterDocument:
    if isinstance(body, DataBody):
        return _document(dead_letter_desk.mend(store, letter_id, body.data, actor=caller.actor))
    return _document(dead_letter_desk.mend_fields(store, letter_id, body.changes, actor=caller.actor))


@router.post("/dead-letters/{letter_id}/discard", summary="Close a letter; it is kept", responses=_NONE)
def discard_letter(store: OpenStore, caller: Operator, letter_id: Number, body: Because) -> LetterDocument:
    return _document(dead_letter_desk.discard(store, letter_id, body.reason, actor=caller.actor))


@router.post("/dead-letter-discards", summary="Close many letters; they are kept", responses=_NONE)
def discard_letters(
    store: OpenStore, caller: Operator, body: DiscardLetters | DiscardLettersOfCause | DiscardEveryLetter
) -> DiscardedDocument:
    numbers, cause, everything = body.choice()
    return discarded(
        dead_letter_desk.choose(store, numbers, cause=cause, everything=everything),
        lambda chosen: dead_letter_desk.discard_all(store, chosen, body.reason, actor=caller.actor),
        dry_run=body.dry_run,
    )


@router.post("/dead-letter-replays", summary="Deliver letters again", status_code=HTTPStatus.ACCEPTED, responses=_NONE)
def replay_letters(
    store: OpenStore, caller: Operator, body: LettersByNumber | LettersByCause | EveryLetter
) -> ReplayDocument:
    """Worked off by the delivery within a second; `/replays/{replay_id}` says how far it is, and stops it."""
    numbers, cause, everything = body.choice()
    asked = replay_events.ask_for_letters(
        store, numbers, cause=cause, everything=everything, rate=body.rate, actor=caller.actor
    )
    return replay_document(asked)


def _document(letter: Letter) -> LetterDocument:
    return LetterDocument(**dead_letter_desk.document(letter))
