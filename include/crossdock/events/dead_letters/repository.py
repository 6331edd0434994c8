"""Deliveries that failed, as a person at the desk sees them: found, mended, closed. Their tries are `event_retries`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from crossdock.core.errors import Conflict, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Work
from crossdock.events import store as event_log
from crossdock.events.model import Event

#: A letter in one of these is the delivery's; every other one is a person's, or closed.
AT_WORK = ("trying", "retrying", "waiting")


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One event that one subscriber could not take, whole, with what a person needs to mend it."""

    letter_id: int
    subscriber: str
    state: str
    #: Tries so far, those that ended their worker included.
    attempts: int
    next_try_at: datetime
    #: The kind of the error, by which letters are grouped; None for what only waits behind another.
    cause: str | None
    reason: str | None
    event: Event
    #: JSON text; None when nobody has mended it.
    mended: str | None
    first_seen_at: datetime
    last_seen_at: datetime
    closed_at: datetime | None
    closed_by: str | None

    @property
    def deliverable(self) -> Event:
        """The event as it is to be delivered: as mended, or as it came."""
        return msgspec.structs.replace(self.event, data=self.mended) if self.mended else self.event


class CauseCount(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters that failed alike."""

    subscriber: str
    type: str
    cause: str
    letters: int
    #: The newest one's words.
    reason: str
    oldest_at: datetime
    newest_at: datetime


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a try."""

    cause: str
    reason: str


#: The columns of a letter and of its event, as `letters_of` reads them.
EVENT_COLUMNS = (
    "epoch, xid, position, event_id, source, type, subject, time, partition_key, correlation_id, schema_version, "
    "data::text"
)
LETTER_COLUMNS = (
    "letter_id, subscriber, state, attempts, next_try_at, cause, reason, mended::text, first_seen_at, last_seen_at, "
    "closed_at, closed_by"
)

_GET = f"SELECT {LETTER_COLUMNS}, {EVENT_COLUMNS} FROM failed_delivery WHERE letter_id = %(letter_id)s".encode()
_LOCK = (
    f"SELECT {LETTER_COLUMNS}, {EVENT_COLUMNS} FROM failed_delivery WHERE letter_id = %(letter_id)s FOR UPDATE".encode()
)

_FIND = f"""
SELECT {LETTER_COLUMNS}, {EVENT_COLUMNS} FROM failed_delivery
 WHERE (%(state)s::text IS NULL OR state = %(state)s) AND (%(cause)s::text IS NULL OR cause = %(cause)s)
   AND (%(subscriber)s::text IS NULL OR subscriber = %(subscriber)s) AND letter_id > %(after)s
   AND (%(letter_ids)s::bigint[] IS NULL OR letter_id = ANY(%(letter_ids)s))
 ORDER BY letter_id LIMIT %(limit)s
""".encode()

_CAUSES = b"""
SELECT subscriber, type, cause, count(*), (array_agg(reason ORDER BY last_seen_at DESC))[1],
       min(first_seen_at), max(last_seen_at)
  FROM failed_delivery WHERE state = 'dead' GROUP BY subscriber, type, cause ORDER BY count(*) DESC, subscriber, cause
"""

_STATES = b"SELECT subscriber, state, count(*) FROM failed_delivery GROUP BY subscriber, state ORDER BY 1, 2"

#: By the places of the events that are asked about: a replay asks for each slice.
_AT = """
  FROM unnest(%(epochs)b::int[], %(positions)b::bigint[]) AS asked (epoch, position)
  JOIN failed_delivery letter ON letter.subscriber = %(subscriber)s AND letter.epoch = asked.epoch
   AND letter.position = asked.position
"""

_MENDED = f"SELECT letter.epoch, letter.position, mended::text {_AT} WHERE mended IS NOT NULL".encode()

_CORRECTIONS = f"""
SELECT letter.epoch, letter.position, CASE WHEN state = 'replayed' THEN coalesce(mended, data)::text END {_AT}
 WHERE state <> 'recovered'
""".encode()

_CHOOSE = b"""
SELECT letter_id, state FROM failed_delivery
 WHERE CASE WHEN %(letter_ids)s::bigint[] IS NOT NULL THEN letter_id = ANY(%(letter_ids)s)
            ELSE state = 'dead' AND (%(cause)s::text IS NULL OR cause = %(cause)s) END
 ORDER BY letter_id
"""

_OPEN_BY_TYPE = b"SELECT type, count(*) FROM failed_delivery WHERE state IN ('dead', 'retrying') GROUP BY type"

_MEND = b"UPDATE failed_delivery SET mended = %(mended)s::json WHERE letter_id = %(letter_id)s"

_CLOSE = b"""
UPDATE failed_delivery SET state = %(state)s, closed_at = clock_timestamp(), closed_by = %(closed_by)s
 WHERE letter_id = %(letter_id)s
"""

_FAIL_AGAIN = b"""
UPDATE failed_delivery SET state = 'dead', attempts = attempts + 1, cause = %(cause)s, reason = %(reason)s,
       last_seen_at = clock_timestamp(), closed_at = NULL, closed_by = NULL
 WHERE letter_id = %(letter_id)s
"""


def get(work: Work, letter_id: int, *, lock: bool = False) -> Letter:
    """
    The letter; *lock* keeps others from it until the transaction ends.

    Raises:
        NotFound: there is none.

    """
    found = letters_of(work, _LOCK if lock else _GET, {"letter_id": letter_id})
    if not found:
        raise _no_letter(letter_id)
    return found[0]


def _no_letter(letter_id: int) -> NotFound:
    return NotFound(f"There is no dead letter {letter_id}", hint=Hint(HintId.LIST_DEAD_LETTERS))


def find(
    work: Work,
    *,
    state: str | None = "dead",
    cause: str | None = None,
    subscriber: str | None = None,
    letter_ids: Sequence[int] | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[Letter]:
    """Letters by their numbers, those after *after*, at most *limit*."""
    values = {
        "state": state,
        "cause": cause,
        "subscriber": subscriber,
        "letter_ids": None if letter_ids is None else list(letter_ids),
        "after": after,
        "limit": limit,
    }
    return letters_of(work, _FIND, values)


def choose(work: Work, letter_ids: Sequence[int] | None = None, *, cause: str | None = None) -> dict[int, str]:
    """
    Number → state of the letters under *letter_ids*, or of all dead ones (of *cause*). Without their events, which may be many.

    Raises:
        NotFound: there is no letter under one of the numbers.

    """
    values = {"letter_ids": None if letter_ids is None else list(letter_ids), "cause": cause}
    found: dict[int, str] = dict(work.execute(_CHOOSE, values).fetchall())
    for letter_id in letter_ids or ():
        if letter_id not in found:
            raise _no_letter(letter_id)
    return found


def causes(work: Work) -> list[CauseCount]:
    """Dead letters grouped by what failed, most first."""
    names = ("subscriber", "type", "cause", "letters", "reason", "oldest_at", "newest_at")
    return [CauseCount(**dict(zip(names, row, strict=True))) for row in work.execute(_CAUSES)]


def states(work: Work) -> list[tuple[str, str, int]]:
    """Subscriber, state, how many."""
    return [(subscriber, state, number) for subscriber, state, number in work.execute(_STATES)]


def corrected(work: Work, subscriber: str, events: Sequence[Event]) -> list[Event]:
    """*events* as *subscriber* had them: as mended where somebody did and it helped, without those that it never had."""
    known = {(epoch, at): data for epoch, at, data in work.execute(_CORRECTIONS, _places(subscriber, events))}
    if not known:
        return list(events)
    found = []
    for event in events:
        data = known.get((event.epoch, event.position), event.data)
        if data is not None:
            found.append(event if data is event.data else msgspec.structs.replace(event, data=data))
    return found


def as_mended(work: Work, subscriber: str, events: Sequence[Event]) -> list[Event]:
    """*events*, each with the data that a person has mended for *subscriber*, where one has."""
    known = {(epoch, at): data for epoch, at, data in work.execute(_MENDED, _places(subscriber, events))}
    return [
        msgspec.structs.replace(event, data=known[event.epoch, event.position])
        if (event.epoch, event.position) in known
        else event
        for event in events
    ]


def _places(subscriber: str, events: Sequence[Event]) -> dict[str, object]:
    return {
        "subscriber": subscriber,
        "epochs": [event.epoch for event in events],
        "positions": [event.position for event in events],
    }


def open_by_type(work: Work) -> dict[str, int]:
    """By type of event, how many deliveries wait for a person or for their next try."""
    return dict(work.execute(_OPEN_BY_TYPE).fetchall())


def mend(work: Work, letter_id: int, mended: str | None) -> None:
    """
    Notes *mended* (JSON) as the data to be delivered; those that came stay beside it. None: as they came.

    Raises:
        Conflict: the letter is still at work.

    """
    letter = get(work, letter_id, lock=True)
    if letter.state in ("trying", "waiting"):
        raise Conflict(f"Letter {letter_id} is {letter.state}: it is at work, and cannot be mended now")
    work.execute(_MEND, {"letter_id": letter_id, "mended": mended})


def close(work: Work, letter_id: int, state: str, closed_by: str) -> None:
    work.execute(_CLOSE, {"letter_id": letter_id, "state": state, "closed_by": closed_by})


def fail_again(work: Work, letter_id: int, failure: Failure) -> None:
    """The letter, dead with one try more: a replay did not go through."""
    values = {"letter_id": letter_id, "cause": failure.cause, "reason": failure.reason}
    work.execute(_FAIL_AGAIN, values)


def letters_of(work: Work, statement: bytes, values: dict[str, Any]) -> list[Letter]:
    """The letters that *statement* finds; it selects LETTER_COLUMNS and then EVENT_COLUMNS."""
    names = [name.strip().removesuffix("::text") for name in LETTER_COLUMNS.split(",")]
    found = []
    for row in event_log.cursor_of(work).execute(statement, values):
        fields = dict(zip(names, row[: len(names)], strict=True))
        found.append(Letter(**fields, event=Event(*row[len(names) :])))
    return found
