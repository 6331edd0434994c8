"""Deliveries that failed: tried again in time, with what waits behind them, until they succeed or are dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from include.model import remedies
from include.model.errors import Conflict, NotFound
from include.model.events import Event
from include.store import event_log
from include.store.database import Work
from include.store.event_readers import Claim


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


_EVENT = (
    "epoch, xid, position, event_id, source, type, subject, time, partition_key, correlation_id, schema_version, "
    "data::text"
)
_LETTER = (
    "letter_id, subscriber, state, attempts, next_try_at, cause, reason, mended::text, first_seen_at, last_seen_at, "
    "closed_at, closed_by"
)

_KEEP = b"""
INSERT INTO failed_delivery AS kept
    (subscriber, epoch, xid, position, event_id, source, type, subject, time, partition_key, partition, correlation_id,
     schema_version, data, state, attempts, next_try_at, cause, reason)
VALUES (%(subscriber)s, %(epoch)s, %(xid)s::text::xid8, %(position)s, %(event_id)s, %(source)s, %(type)s, %(subject)s,
        %(time)s, %(partition_key)s, %(partition)s, %(correlation_id)s, %(schema_version)s, %(data)s::json, %(state)s,
        %(attempts)s, clock_timestamp() + %(wait)s, %(cause)s, %(reason)s)
ON CONFLICT (subscriber, epoch, position) DO UPDATE
   SET state = excluded.state, attempts = kept.attempts + excluded.attempts, next_try_at = excluded.next_try_at,
       cause = coalesce(excluded.cause, kept.cause), reason = coalesce(excluded.reason, kept.reason),
       last_seen_at = clock_timestamp(), closed_at = NULL, closed_by = NULL
 WHERE excluded.state <> 'waiting'
RETURNING attempts
"""

#: The first of each key that is at work; whatever else the key has waits behind it.
_HEADS = (
    f"""
SELECT {_LETTER}, {_EVENT} FROM (
    SELECT DISTINCT ON (partition_key) * FROM failed_delivery
     WHERE subscriber = %(subscriber)s AND partition = %(partition)s AND state IN ('trying', 'retrying', 'waiting')
     ORDER BY partition_key, epoch, xid, position) AS head
 WHERE state <> 'retrying' OR next_try_at <= clock_timestamp()
 ORDER BY next_try_at LIMIT %(limit)s
"""
).encode()

_OF_KEY = f"""
SELECT {_LETTER}, {_EVENT} FROM failed_delivery
 WHERE subscriber = %(subscriber)s AND partition = %(partition)s AND partition_key = %(key)s
   AND state IN ('trying', 'retrying', 'waiting')
 ORDER BY failed_delivery.epoch, failed_delivery.xid, failed_delivery.position LIMIT %(limit)s
""".encode()

_BLOCKED = b"""
SELECT DISTINCT partition_key FROM failed_delivery
 WHERE subscriber = %(subscriber)s AND partition = %(partition)s AND state IN ('trying', 'retrying', 'waiting')
"""

#: What only waited, or was noted before a try that went well, has nothing to tell; what failed is kept as recovered.
_FORGET = b"""
DELETE FROM failed_delivery WHERE letter_id = ANY(%(letter_ids)s) AND cause IS NULL
"""
_FORGET_TRIES = b"""
DELETE FROM failed_delivery kept USING unnest(%(epochs)b::int[], %(positions)b::bigint[]) AS had (epoch, position)
 WHERE kept.subscriber = %(subscriber)s AND kept.epoch = had.epoch AND kept.position = had.position
   AND kept.state = 'trying' AND kept.cause IS NULL
"""
_RECOVER = b"""
UPDATE failed_delivery SET state = 'recovered', closed_at = clock_timestamp(), closed_by = 'retry'
 WHERE letter_id = ANY(%(letter_ids)s)
"""

#: A dead letter closes itself when its subscriber took a later event of the same subject, which tells all of it.
_SUPERSEDE = b"""
UPDATE failed_delivery letter SET state = 'superseded', closed_at = clock_timestamp(),
       closed_by = 'event ' || later.epoch || '-' || later.position
  FROM unnest(%(types)b::text[], %(subjects)b::text[], %(epochs)b::int[], %(positions)b::bigint[])
       AS later (type, subject, epoch, position)
 WHERE letter.subscriber = %(subscriber)s AND letter.state = 'dead' AND letter.type = later.type
   AND letter.subject = later.subject AND (letter.epoch, letter.position) < (later.epoch, later.position)
"""

_PUT_OFF = b"""
UPDATE failed_delivery SET next_try_at = clock_timestamp() + %(wait)s
 WHERE subscriber = %(subscriber)s AND partition = %(partition)s AND state = 'retrying'
   AND source = %(source)s AND cause = %(cause)s
"""

_HASTEN = b"""
UPDATE failed_delivery SET next_try_at = clock_timestamp() WHERE state = 'retrying' AND cause = %(cause)s
"""

_ANY_DEAD = b"SELECT EXISTS (SELECT FROM failed_delivery WHERE subscriber = %(subscriber)s AND state = 'dead')"

_GET = f"SELECT {_LETTER}, {_EVENT} FROM failed_delivery WHERE letter_id = %(letter_id)s".encode()
_LOCK = f"SELECT {_LETTER}, {_EVENT} FROM failed_delivery WHERE letter_id = %(letter_id)s FOR UPDATE".encode()

_FIND = f"""
SELECT {_LETTER}, {_EVENT} FROM failed_delivery
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

_MENDED = b"""
SELECT epoch, position, mended::text FROM failed_delivery WHERE subscriber = %(subscriber)s AND mended IS NOT NULL
"""

_CORRECTIONS = b"""
SELECT epoch, position, CASE WHEN state = 'replayed' THEN coalesce(mended, data)::text END
  FROM failed_delivery WHERE subscriber = %(subscriber)s AND state <> 'recovered'
"""

_OPEN_BY_TYPE = b"SELECT type, count(*) FROM failed_delivery WHERE state IN ('dead', 'retrying') GROUP BY type"

_MEND = b"UPDATE failed_delivery SET mended = %(mended)s::json WHERE letter_id = %(letter_id)s"

_CLOSE = b"""
UPDATE failed_delivery SET state = %(state)s, closed_at = clock_timestamp(), closed_by = %(closed_by)s
 WHERE letter_id = %(letter_id)s
"""

_BURY = b"""
INSERT INTO failed_delivery AS kept
    (subscriber, epoch, xid, position, event_id, source, type, subject, time, partition_key, partition, correlation_id,
     schema_version, data, state, attempts, cause, reason)
VALUES (%(subscriber)s, %(epoch)s, %(xid)s::text::xid8, %(position)s, %(event_id)s, %(source)s, %(type)s, %(subject)s,
        %(time)s, %(partition_key)s, 0, %(correlation_id)s, %(schema_version)s, %(data)s::json, 'dead', 1, %(cause)s,
        %(reason)s)
ON CONFLICT (subscriber, epoch, position) DO UPDATE
   SET state = 'dead', attempts = kept.attempts + 1, cause = excluded.cause, reason = excluded.reason,
       last_seen_at = clock_timestamp(), closed_at = NULL, closed_by = NULL
 WHERE kept.state NOT IN ('trying', 'retrying', 'waiting')
"""

_FAIL_AGAIN = b"""
UPDATE failed_delivery SET state = 'dead', attempts = attempts + 1, cause = %(cause)s, reason = %(reason)s,
       last_seen_at = clock_timestamp(), closed_at = NULL, closed_by = NULL
 WHERE letter_id = %(letter_id)s
"""


def keep(
    work: Work,
    claim: Claim,
    event: Event,
    state: str,
    *,
    failure: Failure | None = None,
    wait: timedelta,
    tries: int = 1,
) -> int:
    """
    The event kept as *state*, and how many tries it has had now. Kept again, it counts up.

    One that was kept before and now would only wait stays as it is: it may be what the others wait for.
    """
    values = {
        **msgspec.structs.asdict(event),
        "xid": str(event.xid),
        "subscriber": claim.subscriber,
        "partition": claim.partition,
        "state": state,
        "attempts": tries,
        "wait": wait,
        "cause": failure.cause if failure else None,
        "reason": failure.reason if failure else None,
    }
    row = work.execute(_KEEP, values).fetchone()
    return int(row[0]) if row else 0


def heads(work: Work, claim: Claim, *, limit: int = 100) -> list[Letter]:
    """The first of each waiting key whose time has come."""
    values = {"subscriber": claim.subscriber, "partition": claim.partition, "limit": limit}
    return _letters(work, _HEADS, values)


def of_key(work: Work, claim: Claim, key: str, *, limit: int = 500) -> list[Letter]:
    """All that waits of a key, in order."""
    return _letters(
        work, _OF_KEY, {"subscriber": claim.subscriber, "partition": claim.partition, "key": key, "limit": limit}
    )


def blocked_keys(work: Work, claim: Claim) -> set[str]:
    """Keys whose next event must wait for one that failed."""
    rows = work.execute(_BLOCKED, {"subscriber": claim.subscriber, "partition": claim.partition})
    return {key for (key,) in rows}


def recover(work: Work, letter_ids: Sequence[int]) -> None:
    """These were delivered after all."""
    values = {"letter_ids": list(letter_ids)}
    work.execute(_FORGET, values)
    work.execute(_RECOVER, values)


def forget(work: Work, claim: Claim, events: Sequence[Event]) -> None:
    """The notes of tries that went well the first time."""
    epochs, positions = [event.epoch for event in events], [event.position for event in events]
    work.execute(_FORGET_TRIES, {"subscriber": claim.subscriber, "epochs": epochs, "positions": positions})


def put_off(work: Work, claim: Claim, source: str, cause: str, wait: timedelta) -> None:
    """What came from *source* and waits because of *cause* is tried again in *wait*, not before."""
    values = {"subscriber": claim.subscriber, "partition": claim.partition, "source": source}
    work.execute(_PUT_OFF, {**values, "cause": cause, "wait": wait})


def hasten(work: Work, cause: str) -> None:
    """What waits because of *cause* is tried again now."""
    work.execute(_HASTEN, {"cause": cause})


def any_dead(work: Work, subscriber: str) -> bool:
    row = work.execute(_ANY_DEAD, {"subscriber": subscriber}, prepare=True).fetchone()
    return bool(row and row[0])


def supersede(work: Work, subscriber: str, events: Sequence[Event]) -> None:
    """Closes dead letters of the subjects of *events*, which were delivered and are later."""
    later = [event for event in events if event.subject is not None]
    values = {
        "subscriber": subscriber,
        "types": [event.type for event in later],
        "subjects": [event.subject for event in later],
        "epochs": [event.epoch for event in later],
        "positions": [event.position for event in later],
    }
    work.execute(_SUPERSEDE, values)


def get(work: Work, letter_id: int, *, lock: bool = False) -> Letter:
    """
    The letter; *lock* keeps others from it until the transaction ends.

    Raises:
        NotFound: there is none.

    """
    found = _letters(work, _LOCK if lock else _GET, {"letter_id": letter_id})
    if not found:
        raise NotFound(f"There is no dead letter {letter_id}", remedy=remedies.LETTERS)
    return found[0]


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
    return _letters(work, _FIND, values)


def causes(work: Work) -> list[CauseCount]:
    """Dead letters grouped by what failed, most first."""
    names = ("subscriber", "type", "cause", "letters", "reason", "oldest_at", "newest_at")
    return [CauseCount(**dict(zip(names, row, strict=True))) for row in work.execute(_CAUSES)]


def states(work: Work) -> list[tuple[str, str, int]]:
    """Subscriber, state, how many."""
    return [(subscriber, state, number) for subscriber, state, number in work.execute(_STATES)]


def corrected(work: Work, subscriber: str, events: Sequence[Event]) -> list[Event]:
    """*events* as *subscriber* had them: as mended where somebody did and it helped, without those that it never had."""
    known = {(epoch, at): data for epoch, at, data in work.execute(_CORRECTIONS, {"subscriber": subscriber})}
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
    known = {(epoch, at): data for epoch, at, data in work.execute(_MENDED, {"subscriber": subscriber})}
    return [
        msgspec.structs.replace(event, data=known[event.epoch, event.position])
        if (event.epoch, event.position) in known
        else event
        for event in events
    ]


def open_by_type(work: Work) -> dict[str, int]:
    """By type of event, how many deliveries wait for a person or for their next try."""
    return dict(work.execute(_OPEN_BY_TYPE).fetchall())


def mend(work: Work, letter_id: int, mended: str | None) -> None:
    """
    Notes *mended* (JSON) as the data to be delivered; those that came stay beside it. None: as they came.

    Raises:
        Conflict: the letter is still at work.

    """
    _refuse_at_work(get(work, letter_id, lock=True), "mended")
    work.execute(_MEND, {"letter_id": letter_id, "mended": mended})


def close(work: Work, letter_id: int, state: str, closed_by: str) -> None:
    work.execute(_CLOSE, {"letter_id": letter_id, "state": state, "closed_by": closed_by})


def bury(work: Work, subscriber: str, event: Event, failure: Failure) -> None:
    """The event as a dead letter, after a replay that it did not get through; one that is tried again by itself stays so."""
    values = {**msgspec.structs.asdict(event), **msgspec.structs.asdict(failure)}
    work.execute(_BURY, {**values, "xid": str(event.xid), "subscriber": subscriber})


def fail_again(work: Work, letter_id: int, failure: Failure) -> None:
    """The letter, dead with one try more: a replay did not go through."""
    values = {"letter_id": letter_id, "cause": failure.cause, "reason": failure.reason}
    work.execute(_FAIL_AGAIN, values)


def _refuse_at_work(letter: Letter, what: str) -> None:
    if letter.state in ("trying", "waiting"):
        raise Conflict(f"Letter {letter.letter_id} is {letter.state}: it is at work, and cannot be {what} now")


def _letters(work: Work, statement: bytes, values: dict[str, Any]) -> list[Letter]:
    names = [name.strip().removesuffix("::text") for name in _LETTER.split(",")]
    found = []
    for row in event_log.cursor_of(work).execute(statement, values):
        fields = dict(zip(names, row[: len(names)], strict=True))
        found.append(Letter(**fields, event=Event(*row[len(names) :])))
    return found
