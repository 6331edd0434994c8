"""SQL of the retries: record failed deliveries, find the due ones with the events they block, close them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import msgspec

from crossdock.db.database import Work
from crossdock.events.dead_letters.repository import (
    AT_WORK,
    DEAD_LETTER_COLUMNS,
    EVENT_COLUMNS,
    DeadLetter,
    Failure,
    select_dead_letters,
)
from crossdock.events.delivery.consumer_leases import Claim
from crossdock.events.model import Event

_NOW = timedelta(0)


class RetryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The state of an event that was not delivered."""

    event: Event
    #: "trying", "retrying", "waiting" or "dead".
    state: str
    failure: Failure | None = None
    #: Backoff until its next attempt.
    wait: timedelta = _NOW
    #: Added to its number of attempts; -1 takes a recorded one back.
    attempts: int = 0


#: The states of AT_WORK as an SQL list.
_AT_WORK = f"({', '.join(repr(state) for state in AT_WORK)})"

_INSERT = """
INSERT INTO dead_letter AS kept
    (subscriber, epoch, xid, position, event_id, source, type, subject, time, partition_key, partition, correlation_id,
     schema_version, data, state, attempts, next_attempt_at, cause, reason)
VALUES (%(subscriber)s, %(epoch)s, %(xid)s::text::xid8, %(position)s, %(event_id)s, %(source)s, %(type)s, %(subject)s,
        %(time)s, %(partition_key)s, %(partition)s, %(correlation_id)s, %(schema_version)s, %(data)s::json, %(state)s,
        %(attempts)s, clock_timestamp() + %(wait)s, %(cause)s, %(reason)s)
"""

#: An event that a person closed between two attempts stays closed: the outcome of an attempt under way must not undo a
#: discard. An event that would only wait stays as it is, too: it may be the one that the others wait for.
_UPSERT = (
    f"""{_INSERT}
ON CONFLICT (subscriber, epoch, position) DO UPDATE
   SET state = excluded.state, attempts = kept.attempts + excluded.attempts, next_attempt_at = excluded.next_attempt_at,
       cause = coalesce(excluded.cause, kept.cause), reason = coalesce(excluded.reason, kept.reason),
       last_seen_at = clock_timestamp()
 WHERE excluded.state <> 'waiting' AND kept.state IN {_AT_WORK}
"""
).encode()

#: The reverse for replays: a person had the event replayed, whatever its state; only one that is being retried stays so.
_MOVE_TO_DEAD_LETTERS = (
    f"""{_INSERT}
ON CONFLICT (subscriber, epoch, position) DO UPDATE
   SET state = 'dead', attempts = kept.attempts + 1, cause = excluded.cause, reason = excluded.reason,
       last_seen_at = clock_timestamp(), closed_at = NULL, closed_by = NULL
 WHERE kept.state NOT IN {_AT_WORK}
"""
).encode()

#: Head-of-line events: the first event of each key that is being retried. The other events of the key wait for it.
_FIRST_OF_KEYS = f"""
SELECT {DEAD_LETTER_COLUMNS}, {EVENT_COLUMNS} FROM (
    SELECT DISTINCT ON (partition_key) * FROM dead_letter
     WHERE subscriber = %(subscriber)s AND partition = %(partition)s AND state IN {_AT_WORK}
     ORDER BY partition_key, epoch, xid, position) AS head
"""

#: Events of a paused source wait for the probe.
_HEADS = f"""{_FIRST_OF_KEYS}
 WHERE (state <> 'retrying' OR next_attempt_at <= clock_timestamp())
   AND NOT EXISTS (SELECT FROM source_outage outage WHERE outage.subscriber = head.subscriber AND outage.source = head.source)
 ORDER BY next_attempt_at, dead_letter_id LIMIT %(limit)s
""".encode()

#: An event that was never blamed, and of these the one whose last attempt is longest ago: one that always fails must not
#: be every probe.
_PROBE = f"""{_FIRST_OF_KEYS}
 WHERE source = %(source)s ORDER BY attempts, last_seen_at, dead_letter_id LIMIT 1
""".encode()

_PENDING_OF_KEYS = f"""
SELECT {DEAD_LETTER_COLUMNS}, {EVENT_COLUMNS} FROM dead_letter
 WHERE subscriber = %(subscriber)s AND partition = %(partition)s AND partition_key = ANY(%(keys)s::text[])
   AND state IN {_AT_WORK}
 ORDER BY dead_letter.epoch, dead_letter.xid, dead_letter.position LIMIT %(limit)s
""".encode()

_BLOCKED = f"""
SELECT DISTINCT partition_key FROM dead_letter
 WHERE subscriber = %(subscriber)s AND partition = %(partition)s AND state IN {_AT_WORK}
""".encode()

_RECORD_ATTEMPTS = f"""
UPDATE dead_letter
   SET state = 'retrying', attempts = dead_letter.attempts + 1, last_seen_at = clock_timestamp(),
       next_attempt_at = clock_timestamp() + make_interval(secs => noted.wait_s)
  FROM unnest(%(dead_letter_ids)s::bigint[], %(waits_s)s::float8[]) AS noted (dead_letter_id, wait_s)
 WHERE dead_letter.dead_letter_id = noted.dead_letter_id AND dead_letter.state IN {_AT_WORK}
RETURNING dead_letter.dead_letter_id, dead_letter.attempts
""".encode()

#: An event that only waited, or was recorded before an attempt that succeeded, leaves no row; one that failed is kept as
#: recovered.
_DELETE_WAITING = f"""
DELETE FROM dead_letter WHERE dead_letter_id = ANY(%(dead_letter_ids)s) AND cause IS NULL AND state IN {_AT_WORK}
""".encode()
_RECOVER = f"""
UPDATE dead_letter SET state = 'recovered', closed_at = clock_timestamp(), closed_by = 'retry'
 WHERE dead_letter_id = ANY(%(dead_letter_ids)s) AND state IN {_AT_WORK}
""".encode()
_DELETE_ATTEMPTS = b"""
DELETE FROM dead_letter kept USING unnest(%(epochs)b::int[], %(positions)b::bigint[]) AS had (epoch, position)
 WHERE kept.subscriber = %(subscriber)s AND kept.epoch = had.epoch AND kept.position = had.position
   AND kept.state = 'trying' AND kept.cause IS NULL
"""

#: A dead letter is superseded when its subscriber took a later event of the same subject, which has the whole state.
_SUPERSEDE = b"""
UPDATE dead_letter SET state = 'superseded', closed_at = clock_timestamp(),
       closed_by = 'event ' || later.epoch || '-' || later.position
  FROM unnest(%(types)b::text[], %(subjects)b::text[], %(epochs)b::int[], %(positions)b::bigint[])
       AS later (type, subject, epoch, position)
 WHERE dead_letter.subscriber = %(subscriber)s AND dead_letter.state = 'dead' AND dead_letter.type = later.type
   AND dead_letter.subject = later.subject AND (dead_letter.epoch, dead_letter.position) < (later.epoch, later.position)
"""

_ANY_DEAD = b"SELECT EXISTS (SELECT FROM dead_letter WHERE subscriber = %(subscriber)s AND state = 'dead')"


def upsert(work: Work, claim: Claim, records: Sequence[RetryRecord]) -> None:
    """
    Upsert *records*; attempts are added to the event's earlier ones.

    An event that has a row and would now only wait stays as it is, and so does one that a person has closed.
    """
    if records:
        work.cursor().executemany(_UPSERT, [_values(claim.subscriber, claim.partition, record) for record in records])


def move_to_dead_letters(work: Work, subscriber: str, event: Event, failure: Failure) -> None:
    """Move an event that failed in a replay to the dead letters, unless it is being retried."""
    record = RetryRecord(event=event, state="dead", failure=failure, attempts=1)
    work.execute(_MOVE_TO_DEAD_LETTERS, _values(subscriber, 0, record))


def _values(subscriber: str, partition: int, record: RetryRecord) -> dict[str, object]:
    return {
        **msgspec.structs.asdict(record.event),
        "xid": str(record.event.xid),
        "subscriber": subscriber,
        "partition": partition,
        "state": record.state,
        "attempts": record.attempts,
        "wait": record.wait,
        "cause": record.failure.cause if record.failure else None,
        "reason": record.failure.reason if record.failure else None,
    }


def heads_of_line(work: Work, claim: Claim, *, limit: int = 100) -> list[DeadLetter]:
    """Find the head-of-line events that are due, except events of paused sources."""
    return select_dead_letters(work, _HEADS, {**_of(claim), "limit": limit})


def probe_event(work: Work, claim: Claim, source: str) -> DeadLetter | None:
    """Choose a head-of-line event of *source* to probe it with; another one each time."""
    found = select_dead_letters(work, _PROBE, {**_of(claim), "source": source})
    return found[0] if found else None


def pending_of_keys(work: Work, claim: Claim, keys: Sequence[str], *, limit: int = 200) -> list[DeadLetter]:
    """Select the events of *keys* that are retried or wait, in order, at most *limit*."""
    return select_dead_letters(work, _PENDING_OF_KEYS, {**_of(claim), "keys": list(keys), "limit": limit})


def blocked_keys(work: Work, claim: Claim) -> set[str]:
    """Select the keys whose next event must wait for a failed one (head-of-line blocking)."""
    return {key for (key,) in work.execute(_BLOCKED, _of(claim))}


def record_attempts(work: Work, waits_s: Mapping[int, float]) -> dict[int, int]:
    """
    Record the coming attempt of each event, which may kill its worker; return dead letter id → attempts so far.

    *waits_s* is the backoff in case the attempt has no outcome. Events that a person has closed are left out.
    """
    values = {"dead_letter_ids": list(waits_s), "waits_s": list(waits_s.values())}
    return dict(work.execute(_RECORD_ATTEMPTS, values).fetchall())


def mark_recovered(work: Work, dead_letter_ids: Sequence[int]) -> None:
    """Close events that a retry delivered."""
    values = {"dead_letter_ids": list(dead_letter_ids)}
    work.execute(_DELETE_WAITING, values)
    work.execute(_RECOVER, values)


def delete_attempts(work: Work, claim: Claim, events: Sequence[Event]) -> None:
    """Delete the records of attempts that succeeded the first time."""
    epochs, positions = [event.epoch for event in events], [event.position for event in events]
    work.execute(_DELETE_ATTEMPTS, {"subscriber": claim.subscriber, "epochs": epochs, "positions": positions})


def any_dead(work: Work, subscriber: str) -> bool:
    """Check whether *subscriber* has dead letters."""
    row = work.execute(_ANY_DEAD, {"subscriber": subscriber}, prepare=True).fetchone()
    return bool(row and row[0])


def supersede(work: Work, subscriber: str, events: Sequence[Event]) -> None:
    """Close the dead letters of the same subjects that are older than the delivered *events*."""
    later = [event for event in events if event.subject is not None]
    values = {
        "subscriber": subscriber,
        "types": [event.type for event in later],
        "subjects": [event.subject for event in later],
        "epochs": [event.epoch for event in later],
        "positions": [event.position for event in later],
    }
    work.execute(_SUPERSEDE, values)


def _of(claim: Claim) -> dict[str, object]:
    return {"subscriber": claim.subscriber, "partition": claim.partition}
