"""Use cases of dead letters: edit and discard them. `replay/service.py` replays them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crossdock.core import exact_json
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
from crossdock.events.dead_letters import repository
from crossdock.events.dead_letters.repository import DeadLetter
from crossdock.events.schemas import EventTypes
from crossdock.integrations.json_schema import validator_of
from crossdock.observability import audit

#: Open dead letters, which a person may discard.
_DISCARDABLE = frozenset({"dead", "retrying"})


def edit_fields(
    store: Store, dead_letter_id: int, changes: Mapping[str, Any], *, event_types: EventTypes, actor: str
) -> DeadLetter:
    """
    Edit some fields of the event's data (dotted field → value). Nothing is delivered until the dead letter is replayed.

    Raises:
        NotFound: there is no such dead letter.
        BadRequest: a field leads into a value that is not an object.
        Conflict: the event is being delivered, or somebody else edited it at the same moment.

    """
    with store.transaction() as work:
        dead_letter = repository.get(work, dead_letter_id)

    def refuse_changed(now: DeadLetter) -> None:
        if now.edited_data != dead_letter.edited_data:
            raise Conflict(
                f"Dead letter {dead_letter_id} was edited at the same moment. Look at it, and repeat the edit"
            )

    data = json.loads(dead_letter.edited_data or dead_letter.event.data)
    for field, value in changes.items():
        set_field(data, field, value)
    return edit(
        store,
        dead_letter_id,
        data,
        event_types=event_types,
        actor=actor,
        fields=tuple(changes),
        refuse_changed=refuse_changed,
    )


def edit(
    store: Store,
    dead_letter_id: int,
    data: Any,
    *,
    event_types: EventTypes,
    actor: str,
    fields: tuple[str, ...] = (),
    refuse_changed: Callable[[DeadLetter], None] = lambda _: None,
) -> DeadLetter:
    """
    Replace the event's data, which must match the schema of its type. The audit trail names the fields, never values.

    Data that equal the original remove the edit. *refuse_changed* is called in the transaction that saves, with the dead
    letter as it is then and stays until the end.

    Raises:
        NotFound: there is no such dead letter.
        BadRequest: *data* do not match the schema of the event type; the message names the field.
        Conflict: the event is being delivered.

    """
    with store.transaction() as work:
        dead_letter = repository.get(work, dead_letter_id, lock=True)
        refuse_changed(dead_letter)
        _refuse_new_schema_errors(event_types, dead_letter, data)
        is_original = exact_json.is_same(data, exact_json.decode(dead_letter.event.data))
        repository.edit(work, dead_letter_id, None if is_original else json.dumps(data))
        detail = {"fields": list(fields) or "all"}
        audit.add(work, actor=actor, act="dead_letter.fix", subject=f"dead-letters/{dead_letter_id}", detail=detail)
        return repository.get(work, dead_letter_id)


def _refuse_new_schema_errors(event_types: EventTypes, dead_letter: DeadLetter, data: Any) -> None:
    version = (dead_letter.event.type, dead_letter.event.schema_version)
    if version not in event_types.schemas:
        return
    schema, original = event_types.schema(*version), json.loads(dead_letter.event.data)
    if isinstance(data, dict):
        refuse_unknown_fields(data, original, None, schema.get("properties", ()), what=f"{version[0]} events")
    check = validator_of(schema)
    # Errors of the original data are for the subscriber to judge; an edit must not add new ones.
    before = {(tuple(violation.absolute_path), violation.message) for violation in check.iter_errors(original)}
    for error in check.iter_errors(data):
        if (tuple(error.absolute_path), error.message) in before:
            continue
        where = ".".join(map(str, error.absolute_path)) or "the data"
        raise BadRequest(f"{where}: {error.message}", hint=Hint(HintId.LIST_EVENT_TYPES))


def discard(store: Store, dead_letter_id: int, reason: str, *, actor: str) -> DeadLetter:
    """
    Close the dead letter; it is kept and can still be replayed. An event that is being retried is given up.

    Raises:
        NotFound: there is no such dead letter.
        BadRequest: the reason is empty.
        Conflict: it is closed already.

    """
    refuse_no_reason(reason)
    chosen = choose(store, [dead_letter_id], cause=None, everything=False)
    if not discard_all(store, chosen, reason, actor=actor).closed:
        raise Conflict(f"Dead letter {dead_letter_id} was closed in the meantime")
    with store.transaction() as work:
        return repository.get(work, dead_letter_id)


def choose(
    store: Store,
    dead_letter_ids: Sequence[int],
    *,
    cause: str | None,
    everything: bool,
    subscriber: str | None = None,
) -> list[int]:
    """
    Select the dead letters to discard in exactly one way: by id, by cause, or all open ones; return their ids.

    With *subscriber*, only those of one.

    Raises:
        BadRequest: none or several ways were used.
        NotFound: an id does not exist, or no dead letter has that cause.
        Conflict: a dead letter selected by id is closed.

    """
    refuse_unclear(dead_letter_ids, cause=cause, everything=everything)
    with store.transaction() as work:
        # Without their events: there may be a hundred thousand.
        chosen = repository.choose(work, list(dead_letter_ids) or None, cause=cause, subscriber=subscriber)
    if cause is not None and not chosen:
        raise NotFound(f"No dead letter has the cause {cause!r}", hint=Hint(HintId.LIST_DEAD_LETTERS))
    for dead_letter_id, state in chosen.items():
        if state not in _DISCARDABLE:
            raise Conflict(f"Dead letter {dead_letter_id} is {state}; only dead or retrying ones can be discarded")
    return list(chosen)


def discard_all(store: Store, dead_letter_ids: Sequence[int], reason: str, *, actor: str) -> Discarded:
    """
    Close *dead_letter_ids*, each with its entry in the audit trail.

    Safe to interrupt and to repeat: a dead letter that was closed in the meantime is not changed.

    Raises:
        BadRequest: the reason is empty.

    """

    def close(work: Work, some: Sequence[int]) -> list[int]:
        dead_letters = [repository.get(work, dead_letter_id, lock=True) for dead_letter_id in some]
        still_open = [dead_letter.dead_letter_id for dead_letter in dead_letters if dead_letter.state in _DISCARDABLE]
        for dead_letter_id in still_open:
            repository.close(work, dead_letter_id, "discarded", actor)
            subject, detail = f"dead-letters/{dead_letter_id}", {"reason": reason}
            audit.add(work, actor=actor, act="dead_letter.discard", subject=subject, detail=detail)
        return still_open

    return discard_in_slices(store, dead_letter_ids, reason, close)


def document(dead_letter: DeadLetter) -> dict[str, Any]:
    """Represent the dead letter as JSON for people and programs: whole, with what a person needs to fix it."""
    event = dead_letter.event
    return {
        "dead_letter_id": dead_letter.dead_letter_id,
        "subscriber": dead_letter.subscriber,
        "state": dead_letter.state,
        "cause": dead_letter.cause,
        "reason": dead_letter.reason,
        "attempts": dead_letter.attempts,
        "first_seen_at": dead_letter.first_seen_at,
        "last_seen_at": dead_letter.last_seen_at,
        "next_attempt_at": dead_letter.next_attempt_at if dead_letter.state == "retrying" else None,
        "closed_at": dead_letter.closed_at,
        "closed_by": dead_letter.closed_by,
        "event": {
            "id": event.id,
            "sender_id": event.event_id,
            "source": event.source,
            "type": event.type,
            "subject": event.subject,
            "key": event.partition_key,
            "time": event.time,
            "correlation_id": event.correlation_id,
            "schema_version": event.schema_version,
            "data": json.loads(event.data),
        },
        "edited_data": json.loads(dead_letter.edited_data) if dead_letter.edited_data else None,
    }
