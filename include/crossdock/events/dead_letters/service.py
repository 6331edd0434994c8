"""What a person does with dead letters: look, mend, discard. Replaying them is `replay_events`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crossdock.core.errors import BadRequest, Conflict, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.bulk_edit import (
    Discarded,
    discard_in_slices,
    refuse_no_reason,
    refuse_unclear,
    refuse_unknown_fields,
    set_field,
)
from crossdock.db.database import Store, Work
from crossdock.events import schemas as event_contracts
from crossdock.events.dead_letters import repository as failed_deliveries
from crossdock.events.dead_letters.repository import Letter
from crossdock.observability import audit

#: What a person may still decide on.
_DISCARDABLE = frozenset({"dead", "retrying"})


def mend_fields(store: Store, letter_id: int, changes: Mapping[str, Any], *, actor: str) -> Letter:
    """
    The letter with *changes* (dotted field of the data → value) noted; nothing is delivered until it is replayed.

    Raises:
        NotFound: no such letter.
        BadRequest: a field leads into something that has no fields.
        Conflict: it is at work.

    """
    with store.transaction() as work:
        letter = failed_deliveries.get(work, letter_id)
    data = json.loads(letter.mended or letter.event.data)
    for field, value in changes.items():
        set_field(data, field, value)
    return mend(store, letter_id, data, actor=actor, fields=tuple(changes))


def mend(store: Store, letter_id: int, data: Any, *, actor: str, fields: tuple[str, ...] = ()) -> Letter:
    """
    The same for the whole data, which must be as the type's schema says. The audit trail names the fields, never values.

    Data that are again as they came are no mend any more.

    Raises:
        NotFound: no such letter.
        BadRequest: *data* is not what events of its type have; the message names the field.
        Conflict: it is at work.

    """
    with store.transaction() as work:
        letter = failed_deliveries.get(work, letter_id)
        _refuse_what_no_event_has(letter, data)
        as_it_came = data == json.loads(letter.event.data)
        failed_deliveries.mend(work, letter_id, None if as_it_came else json.dumps(data))
        detail = {"fields": list(fields) or "all"}
        audit.add(work, actor=actor, act="letter.fix", subject=f"dead-letters/{letter_id}", detail=detail)
        return failed_deliveries.get(work, letter_id)


def _refuse_what_no_event_has(letter: Letter, data: Any) -> None:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # noqa: PLC0415  only where somebody mends

    of = (letter.event.type, letter.event.schema_version)
    if of not in event_contracts.versions():
        return
    schema, came = event_contracts.schema(*of), json.loads(letter.event.data)
    if isinstance(data, dict):
        refuse_unknown_fields(data, came, None, schema.get("properties", ()), what=f"{of[0]} events")
    check = Draft202012Validator(schema)
    # What was wrong when it came is for the handler to judge; a mend must bring nothing more.
    before = {(tuple(each.absolute_path), each.message) for each in check.iter_errors(came)}
    for wrong in check.iter_errors(data):
        if (tuple(wrong.absolute_path), wrong.message) in before:
            continue
        where = ".".join(map(str, wrong.absolute_path)) or "the data"
        raise BadRequest(f"{where}: {wrong.message}", hint=Hint(HintId.LIST_EVENT_TYPES))


def discard(store: Store, letter_id: int, reason: str, *, actor: str) -> Letter:
    """
    The letter, closed; it is kept, and can still be replayed. One that is tried again by itself is given up.

    Raises:
        NotFound: no such letter.
        BadRequest: no reason.
        Conflict: it is closed already.

    """
    refuse_no_reason(reason)
    chosen = choose(store, [letter_id], cause=None, everything=False)
    if not discard_all(store, chosen, reason, actor=actor).closed:
        raise Conflict(f"Letter {letter_id} was closed meanwhile")
    with store.transaction() as work:
        return failed_deliveries.get(work, letter_id)


def choose(store: Store, letter_ids: Sequence[int], *, cause: str | None, everything: bool) -> list[int]:
    """
    The numbers of the letters that were named to be discarded, one way only: by their cause, or all, the dead ones.

    Raises:
        BadRequest: none or several ways were used.
        NotFound: no such letter, or none of that cause.
        Conflict: one of those that were named by number is closed.

    """
    refuse_unclear(letter_ids, cause=cause, everything=everything)
    with store.transaction() as work:
        # Without their events, which may be a hundred thousand.
        chosen = failed_deliveries.choose(work, list(letter_ids) or None, cause=cause)
    if cause is not None and not chosen:
        raise NotFound(f"No dead letter has the cause {cause!r}", hint=Hint(HintId.LIST_DEAD_LETTERS))
    for letter_id, state in chosen.items():
        if state not in _DISCARDABLE:
            raise Conflict(f"Letter {letter_id} is {state}; only dead ones, or those tried again, are discarded")
    return list(chosen)


def discard_all(
    store: Store, letter_ids: Sequence[int], reason: str, *, actor: str, tell: Callable[[int], None] = lambda _: None
) -> Discarded:
    """
    Closes *letter_ids*, each with its entry in the audit trail; *tell* hears how many are done.

    Safe to interrupt and to repeat: what was closed meanwhile is left alone.

    Raises:
        BadRequest: no reason.

    """

    def close(work: Work, some: Sequence[int]) -> list[int]:
        letters = [failed_deliveries.get(work, letter_id, lock=True) for letter_id in some]
        still_open = [letter.letter_id for letter in letters if letter.state in _DISCARDABLE]
        for letter_id in still_open:
            failed_deliveries.close(work, letter_id, "discarded", actor)
            subject, detail = f"dead-letters/{letter_id}", {"reason": reason}
            audit.add(work, actor=actor, act="letter.discard", subject=subject, detail=detail)
        return still_open

    return discard_in_slices(store, letter_ids, reason, close, tell)


def document(letter: Letter) -> dict[str, Any]:
    """The letter as JSON for people and programs: whole, with what a person needs to mend it."""
    event = letter.event
    return {
        "letter_id": letter.letter_id,
        "subscriber": letter.subscriber,
        "state": letter.state,
        "cause": letter.cause,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "first_seen_at": letter.first_seen_at,
        "last_seen_at": letter.last_seen_at,
        "next_try_at": letter.next_try_at if letter.state == "retrying" else None,
        "closed_at": letter.closed_at,
        "closed_by": letter.closed_by,
        "event": {
            "id": event.id,
            "source": event.source,
            "type": event.type,
            "subject": event.subject,
            "key": event.partition_key,
            "time": event.time,
            "correlation_id": event.correlation_id,
            "schema_version": event.schema_version,
            "data": json.loads(event.data),
        },
        "mended": json.loads(letter.mended) if letter.mended else None,
    }
