"""SQL of dead letters: find, edit and close them. Their retries are in `delivery/retry_repository.py`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from crossdock.core.errors import Conflict, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Work
from crossdock.events import store as event_store
from crossdock.events.model import Event

#: States in which the delivery retries the event; in every other one it waits for a person, or is closed.
AT_WORK = ("trying", "retrying", "waiting")


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One event whose delivery to one subscriber failed, whole, with what a person needs to fix it."""

    dead_letter_id: int
    subscriber: str
    state: str
    #: Attempts so far, including attempts that killed their worker.
    attempts: int
    next_attempt_at: datetime
    #: The type of the error, by which dead letters are grouped; None for an event that waits for another one of its key.
    cause: str | None
    reason: str | None
    event: Event
    #: The data as edited by a person, JSON text; None when nobody edited them.
    edited_data: str | None
    first_seen_at: datetime
    last_seen_at: datetime
    closed_at: datetime | None
    closed_by: str | None

    @property
    def deliverable(self) -> Event:
        """The event as it is to be delivered: with the edited data, or as it came."""
        return msgspec.structs.replace(self.event, data=self.edited_data) if self.edited_data else self.event


class CauseCount(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters of one subscriber, event type and cause."""

    subscriber: str
    type: str
    cause: str
    dead_letters: int
    #: The reason of the newest one, and its ID.
    reason: str
    newest_id: int
    oldest_at: datetime
    newest_at: datetime


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The reason of a failed attempt."""

    cause: str
    reason: str


#: The columns of a dead letter and of its event, as `select_dead_letters` reads them.
EVENT_COLUMNS = (
    "epoch, xid, position, event_id, source, type, subject, time, partition_key, correlation_id, schema_version, "
    "data::text"
)
DEAD_LETTER_COLUMNS = (
    "dead_letter_id, subscriber, state, attempts, next_attempt_at, cause, reason, edited_data::text, first_seen_at, last_seen_at, "
    "closed_at, closed_by"
)

_GET = (
    f"SELECT {DEAD_LETTER_COLUMNS}, {EVENT_COLUMNS} FROM dead_letter WHERE dead_letter_id = %(dead_letter_id)s".encode()
)
_LOCK = f"SELECT {DEAD_LETTER_COLUMNS}, {EVENT_COLUMNS} FROM dead_letter WHERE dead_letter_id = %(dead_letter_id)s FOR UPDATE".encode()

_FIND = f"""
SELECT {DEAD_LETTER_COLUMNS}, {EVENT_COLUMNS} FROM dead_letter
 WHERE (%(state)s::text IS NULL OR state = %(state)s) AND (%(cause)s::text IS NULL OR cause = %(cause)s)
   AND (%(subscriber)s::text IS NULL OR subscriber = %(subscriber)s) AND dead_letter_id > %(after)s
   AND (%(dead_letter_ids)s::bigint[] IS NULL OR dead_letter_id = ANY(%(dead_letter_ids)s))
 ORDER BY dead_letter_id LIMIT %(limit)s
""".encode()

#: What a list shows: an event may have a megabyte of data.
_FIND_BRIEFLY = (
    _FIND.decode()
    .replace("edited_data::text", "CASE WHEN edited_data IS NOT NULL THEN '{}' END")
    .replace(" data::text", f" {event_store.BRIEF_DATA}")
    .encode()
)
_COUNT_DEAD = b"SELECT count(*) FROM dead_letter WHERE state = 'dead'"

#: The newest of what is dead: there is an index of those.
_OF_SUBJECT = f"""
SELECT {DEAD_LETTER_COLUMNS}, {EVENT_COLUMNS} FROM dead_letter
 WHERE subscriber = %(subscriber)s AND type = %(type)s AND subject = %(subject)s AND state = 'dead'
 ORDER BY dead_letter_id DESC LIMIT 1
""".encode()

_CAUSES = b"""
SELECT subscriber, type, cause, count(*), (array_agg(reason ORDER BY last_seen_at DESC, dead_letter_id))[1],
       (array_agg(dead_letter_id ORDER BY last_seen_at DESC, dead_letter_id))[1], min(first_seen_at), max(last_seen_at)
  FROM dead_letter WHERE state = 'dead' GROUP BY subscriber, type, cause ORDER BY count(*) DESC, subscriber, cause
"""

_DATA = b"SELECT dead_letter_id, data::text, edited_data::text FROM dead_letter WHERE dead_letter_id = ANY(%(ids)s)"

_STATES = b"SELECT subscriber, state, count(*) FROM dead_letter GROUP BY subscriber, state ORDER BY 1, 2"

#: By the positions of the events of a slice of a replay.
_AT = """
  FROM unnest(%(epochs)b::int[], %(positions)b::bigint[]) AS requested (epoch, position)
  JOIN dead_letter ON dead_letter.subscriber = %(subscriber)s AND dead_letter.epoch = requested.epoch
   AND dead_letter.position = requested.position
"""

_EDITED = (
    f"SELECT dead_letter.epoch, dead_letter.position, edited_data::text {_AT} WHERE edited_data IS NOT NULL".encode()
)

_AS_DELIVERED = f"""
SELECT dead_letter.epoch, dead_letter.position, CASE WHEN state = 'replayed' THEN coalesce(edited_data, data)::text END {_AT}
 WHERE state <> 'recovered'
""".encode()

_CHOOSE = b"""
SELECT dead_letter_id, state FROM dead_letter
 WHERE CASE WHEN %(dead_letter_ids)s::bigint[] IS NOT NULL THEN dead_letter_id = ANY(%(dead_letter_ids)s)
            ELSE state = 'dead' AND (%(cause)s::text IS NULL OR cause = %(cause)s)
                 AND (%(subscriber)s::text IS NULL OR subscriber = %(subscriber)s) END
 ORDER BY dead_letter_id
"""

_OPEN_BY_TYPE = b"SELECT type, count(*) FROM dead_letter WHERE state IN ('dead', 'retrying') GROUP BY type"

_WAITS_FOR_PERSON = b"""
SELECT FROM dead_letter
 WHERE subscriber = %(subscriber)s AND epoch = %(epoch)s AND position = %(position)s AND state <> ALL(%(at_work)s)
"""

_SUPERSEDE = b"""
UPDATE dead_letter SET state = 'superseded', closed_at = clock_timestamp(), closed_by = %(closed_by)s
 WHERE subscriber = %(subscriber)s AND type = %(type)s AND subject = %(subject)s AND state = 'dead'
   AND (epoch, position) < (%(epoch)s, %(position)s)
"""

_EDIT = b"UPDATE dead_letter SET edited_data = %(edited_data)s::json WHERE dead_letter_id = %(dead_letter_id)s"

_CLOSE = b"""
UPDATE dead_letter SET state = %(state)s, closed_at = clock_timestamp(), closed_by = %(closed_by)s
 WHERE dead_letter_id = %(dead_letter_id)s
"""

_MARK_FAILED_AGAIN = b"""
UPDATE dead_letter SET state = 'dead', attempts = attempts + 1, cause = %(cause)s, reason = %(reason)s,
       last_seen_at = clock_timestamp(), closed_at = NULL, closed_by = NULL
 WHERE dead_letter_id = %(dead_letter_id)s
"""


def waits_for_person(work: Work, subscriber: str, event: Event) -> bool:
    """Whether *event* is a dead letter of a subscriber, and not retried by itself: whoever delivers it, replays it."""
    values = {"subscriber": subscriber, "epoch": event.at.epoch, "position": event.at.position}
    return work.execute(_WAITS_FOR_PERSON, {**values, "at_work": list(AT_WORK)}).fetchone() is not None


def supersede(work: Work, subscriber: str, event_type: str, by: Event) -> None:
    """Close the dead letters of an event type about the subject of a later event, which says that nobody has to fix them any more."""
    values = {"subscriber": subscriber, "type": event_type, "subject": by.subject, "closed_by": f"event {by.id}"}
    work.execute(_SUPERSEDE, {**values, "epoch": by.at.epoch, "position": by.at.position})


def get(work: Work, dead_letter_id: int, *, lock: bool = False) -> DeadLetter:
    """
    Select the dead letter; *lock* it against others until the transaction ends.

    Raises:
        NotFound: there is no such dead letter.

    """
    found = select_dead_letters(work, _LOCK if lock else _GET, {"dead_letter_id": dead_letter_id})
    if not found:
        raise _unknown_dead_letter(dead_letter_id)
    return found[0]


def _unknown_dead_letter(dead_letter_id: int) -> NotFound:
    return NotFound(f"There is no dead letter {dead_letter_id}", hint=Hint(HintId.LIST_DEAD_LETTERS))


def find(
    work: Work,
    *,
    state: str | None = "dead",
    cause: str | None = None,
    subscriber: str | None = None,
    dead_letter_ids: Sequence[int] | None = None,
    after: int = 0,
    limit: int = 100,
    is_brief: bool = False,
) -> list[DeadLetter]:
    """
    Find dead letters in the order of their ids, those after *after*, at most *limit* (keyset pagination).

    *is_brief*: without the data of their events, for lists.
    """
    values = {
        "state": state,
        "cause": cause,
        "subscriber": subscriber,
        "dead_letter_ids": None if dead_letter_ids is None else list(dead_letter_ids),
        "after": after,
        "limit": limit,
    }
    return select_dead_letters(work, _FIND_BRIEFLY if is_brief else _FIND, values)


def count_dead(work: Work) -> int:
    """Count those that wait for a person."""
    row = work.execute(_COUNT_DEAD).fetchone()
    return int(row[0]) if row else 0


def last_of_subject(work: Work, subscriber: str, event_type: str, subject: str) -> DeadLetter | None:
    """Find the newest dead letter of a subscriber about a subject; None if nothing of it is dead."""
    values = {"subscriber": subscriber, "type": event_type, "subject": subject}
    return next(iter(select_dead_letters(work, _OF_SUBJECT, values)), None)


def choose(
    work: Work,
    dead_letter_ids: Sequence[int] | None = None,
    *,
    cause: str | None = None,
    subscriber: str | None = None,
) -> dict[int, str]:
    """
    Select the dead letters with these ids, or all open ones (of *cause* and *subscriber*); return id → state.

    Their events are not read: there may be a hundred thousand.

    Raises:
        NotFound: one of the ids does not exist.

    """
    ids = None if dead_letter_ids is None else list(dead_letter_ids)
    values = {"dead_letter_ids": ids, "cause": cause, "subscriber": subscriber}
    found: dict[int, str] = dict(work.execute(_CHOOSE, values).fetchall())
    for dead_letter_id in dead_letter_ids or ():
        if dead_letter_id not in found:
            raise _unknown_dead_letter(dead_letter_id)
    return found


def causes(work: Work) -> list[CauseCount]:
    """Group the dead letters by cause, largest group first."""
    names = ("subscriber", "type", "cause", "dead_letters", "reason", "newest_id", "oldest_at", "newest_at")
    return [CauseCount(**dict(zip(names, row, strict=True))) for row in work.execute(_CAUSES)]


def data_of(work: Work, dead_letter_ids: Sequence[int]) -> dict[int, list[str]]:
    """Read the data of dead letters, JSON texts: as they came, and as edited if they were."""
    found = work.execute(_DATA, {"ids": list(dead_letter_ids)}) if dead_letter_ids else ()
    return {dead_letter_id: [text for text in texts if text] for dead_letter_id, *texts in found}


def states(work: Work) -> list[tuple[str, str, int]]:
    """Count the events by subscriber and state."""
    return [(subscriber, state, number) for subscriber, state, number in work.execute(_STATES)]


def as_delivered(work: Work, subscriber: str, events: Sequence[Event]) -> list[Event]:
    """
    Return *events* as they were delivered to *subscriber*.

    An event that was edited and then replayed has the edited data; one that is still a dead letter, or was discarded, is
    left out.
    """
    known = {(epoch, at): data for epoch, at, data in work.execute(_AS_DELIVERED, _positions(subscriber, events))}
    if not known:
        return list(events)
    found = []
    for event in events:
        data = known.get((event.epoch, event.position), event.data)
        if data is not None:
            found.append(event if data is event.data else msgspec.structs.replace(event, data=data))
    return found


def with_edits(work: Work, subscriber: str, events: Sequence[Event]) -> list[Event]:
    """Return *events*, each with the data that a person has edited for *subscriber*, where there are any."""
    known = {(epoch, at): data for epoch, at, data in work.execute(_EDITED, _positions(subscriber, events))}
    return [
        msgspec.structs.replace(event, data=known[event.epoch, event.position])
        if (event.epoch, event.position) in known
        else event
        for event in events
    ]


def _positions(subscriber: str, events: Sequence[Event]) -> dict[str, object]:
    return {
        "subscriber": subscriber,
        "epochs": [event.epoch for event in events],
        "positions": [event.position for event in events],
    }


def open_by_type(work: Work) -> dict[str, int]:
    """Count, by event type, the deliveries that wait for a person or for their next attempt."""
    return dict(work.execute(_OPEN_BY_TYPE).fetchall())


def edit(work: Work, dead_letter_id: int, edited_data: str | None) -> None:
    """
    Store *edited_data* (JSON) as the data to deliver, beside the original data. None removes the edit.

    Raises:
        Conflict: the event is being delivered, or waits for another one of its key.

    """
    dead_letter = get(work, dead_letter_id, lock=True)
    if dead_letter.state in ("trying", "waiting"):
        raise Conflict(f"Dead letter {dead_letter_id} is {dead_letter.state} and cannot be edited now")
    work.execute(_EDIT, {"dead_letter_id": dead_letter_id, "edited_data": edited_data})


def close(work: Work, dead_letter_id: int, state: str, closed_by: str) -> None:
    """Close the dead letter as "replayed" or "discarded"."""
    work.execute(_CLOSE, {"dead_letter_id": dead_letter_id, "state": state, "closed_by": closed_by})


def mark_failed_again(work: Work, dead_letter_id: int, failure: Failure) -> None:
    """Record that a replay failed: the event is a dead letter again, with one more attempt."""
    values = {"dead_letter_id": dead_letter_id, "cause": failure.cause, "reason": failure.reason}
    work.execute(_MARK_FAILED_AGAIN, values)


def select_dead_letters(work: Work, statement: bytes, values: dict[str, Any]) -> list[DeadLetter]:
    """Run *statement*, which selects DEAD_LETTER_COLUMNS and then EVENT_COLUMNS, and return the rows as objects."""
    names = [name.strip().removesuffix("::text") for name in DEAD_LETTER_COLUMNS.split(",")]
    found = []
    for row in event_store.cursor_of(work).execute(statement, values):
        fields = dict(zip(names, row[: len(names)], strict=True))
        found.append(DeadLetter(**fields, event=Event(*row[len(names) :])))
    return found
