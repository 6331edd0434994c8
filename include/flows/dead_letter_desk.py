"""What a person does with dead letters: look, mend, discard. Replaying them is `replay_events`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from include.flows.quarantine_desk import set_field
from include.model import event_contracts
from include.model.errors import BadRequest, Conflict
from include.store import audit, failed_deliveries
from include.store.database import Store
from include.store.failed_deliveries import Letter


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

    Raises:
        NotFound: no such letter.
        BadRequest: it is at work, or *data* is not what events of its type have; the message names the field.

    """
    with store.transaction() as work:
        _refuse_what_no_event_has(failed_deliveries.get(work, letter_id), data)
        failed_deliveries.mend(work, letter_id, json.dumps(data))
        detail = {"fields": list(fields) or "all"}
        audit.add(work, actor=actor, act="letter.fix", subject=f"dead-letters/{letter_id}", detail=detail)
        return failed_deliveries.get(work, letter_id)


def _refuse_what_no_event_has(letter: Letter, data: Any) -> None:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # noqa: PLC0415  only where somebody mends

    of = (letter.event.type, letter.event.schema_version)
    if of not in event_contracts.versions():
        return
    check = Draft202012Validator(event_contracts.schema(*of))
    # What was wrong when it came is for the handler to judge; a mend must bring nothing more.
    before = {(tuple(each.absolute_path), each.message) for each in check.iter_errors(json.loads(letter.event.data))}
    for wrong in check.iter_errors(data):
        if (tuple(wrong.absolute_path), wrong.message) in before:
            continue
        where = ".".join(map(str, wrong.absolute_path)) or "the data"
        raise BadRequest(f"{where}: {wrong.message}. What events of {of[0]} have: GET /hub/v1/event-types")


def discard(store: Store, letter_id: int, reason: str, *, actor: str) -> Letter:
    """
    The letter, closed; it is kept, and can still be replayed. One that is tried again by itself is given up.

    Raises:
        NotFound: no such letter.
        BadRequest: no reason.
        Conflict: it is closed already.

    """
    if not reason.strip():
        raise BadRequest("Say why it is not wanted: the reason is kept in the audit trail")
    with store.transaction() as work:
        letter = failed_deliveries.get(work, letter_id, lock=True)
        if letter.state not in ("dead", "retrying"):
            raise Conflict(f"Letter {letter_id} is {letter.state}; only dead ones, or those tried again, are discarded")
        failed_deliveries.close(work, letter_id, "discarded", actor)
        subject = f"dead-letters/{letter_id}"
        audit.add(work, actor=actor, act="letter.discard", subject=subject, detail={"reason": reason})
        return failed_deliveries.get(work, letter_id)


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
