"""Failed deliveries as the delivery sees them: kept, tried again in time with what waits behind them, closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import msgspec

from crossdock.db.database import Work
from crossdock.events.dead_letters.repository import AT_WORK, EVENT_COLUMNS, LETTER_COLUMNS, Failure, Letter, letters_of
from crossdock.events.delivery.consumer_leases import Claim
from crossdock.events.model import Event

_NOW = timedelta(0)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of an event that was not delivered."""

    event: Event
    #: "trying", "retrying", "waiting" or "dead".
    state: str
    failure: Failure | None = None
    #: Until its next try.
    wait: timedelta = _NOW
    #: Counted onto those that it has had; -1 takes a noted one back.
    tries: int = 0


#: The same for SQL.
_AT_WORK = f"({', '.join(repr(state) for state in AT_WORK)})"

_INSERT = """
INSERT INTO dead_letter AS kept
    (subscriber, epoch, xid, position, event_id, source, type, subject, time, partition_key, partition, correlation_id,
     schema_version, data, state, attempts, next_attempt_at, cause, reason)
VALUES (%(subscriber)s, %(epoch)s, %(xid)s::text::xid8, %(position)s, %(event_id)s, %(source)s, %(type)s, %(subject)s,
        %(time)s, %(partition_key)s, %(partition)s, %(correlation_id)s, %(schema_version)s, %(data)s::json, %(state)s,
        %(attempts)s, clock_timestamp() + %(wait)s, %(cause)s, %(reason)s)
"""

#: What a person has closed between two tries stays closed: a discard must not come back as the outcome of a try that
#: was under way. What would only wait stays as it is, too: it may be what the others wait for.
_KEEP = (
    f"""{_INSERT}
ON CONFLICT (subscriber, epoch, position) DO UPDATE
   SET state = excluded.state, attempts = kept.attempts + excluded.attempts, next_attempt_at = excluded.next_attempt_at,
       cause = coalesce(excluded.cause, kept.cause), reason = coalesce(excluded.reason, kept.reason),
       last_seen_at = clock_timestamp()
 WHERE excluded.state <> 'waiting' AND kept.state IN {_AT_WORK}
"""
).encode()

#: The other way round: a person had it told again, whatever it was; only what is tried again by itself stays so.
_BURY = (
    f"""{_INSERT}
ON CONFLICT (subscriber, epoch, position) DO UPDATE
   SET state = 'dead', attempts = kept.attempts + 1, cause = excluded.cause, reason = excluded.reason,
       last_seen_at = clock_timestamp(), closed_at = NULL, closed_by = NULL
 WHERE kept.state NOT IN {_AT_WORK}
"""
).encode()

#: The first of each key that is at work; whatever else the key has waits behind it.
_FIRST_OF_KEYS = f"""
SELECT {LETTER_COLUMNS}, {EVENT_COLUMNS} FROM (
    SELECT DISTINCT ON (partition_key) * FROM dead_letter
     WHERE subscriber = %(subscriber)s AND partition = %(partition)s AND state IN {_AT_WORK}
     ORDER BY partition_key, epoch, xid, position) AS head
"""

#: Those of a source that is out wait for the probe.
_HEADS = f"""{_FIRST_OF_KEYS}
 WHERE (state <> 'retrying' OR next_attempt_at <= clock_timestamp())
   AND NOT EXISTS (SELECT FROM source_outage outage WHERE outage.subscriber = head.subscriber AND outage.source = head.source)
 ORDER BY next_attempt_at, dead_letter_id LIMIT %(limit)s
""".encode()

#: One that was never blamed, and of those whose last try is longest ago: one that always fails must not be every probe.
_PROBE = f"""{_FIRST_OF_KEYS}
 WHERE source = %(source)s ORDER BY attempts, last_seen_at, dead_letter_id LIMIT 1
""".encode()

_OF_KEYS = f"""
SELECT {LETTER_COLUMNS}, {EVENT_COLUMNS} FROM dead_letter
 WHERE subscriber = %(subscriber)s AND partition = %(partition)s AND partition_key = ANY(%(keys)s::text[])
   AND state IN {_AT_WORK}
 ORDER BY dead_letter.epoch, dead_letter.xid, dead_letter.position LIMIT %(limit)s
""".encode()

_BLOCKED = f"""
SELECT DISTINCT partition_key FROM dead_letter
 WHERE subscriber = %(subscriber)s AND partition = %(partition)s AND state IN {_AT_WORK}
""".encode()

_NOTE_TRIES = f"""
UPDATE dead_letter letter
   SET state = 'retrying', attempts = letter.attempts + 1, last_seen_at = clock_timestamp(),
       next_attempt_at = clock_timestamp() + make_interval(secs => noted.wait_s)
  FROM unnest(%(dead_letter_ids)s::bigint[], %(waits_s)s::float8[]) AS noted (dead_letter_id, wait_s)
 WHERE letter.dead_letter_id = noted.dead_letter_id AND letter.state IN {_AT_WORK}
RETURNING letter.dead_letter_id, letter.attempts
""".encode()

#: What only waited, or was noted before a try that went well, has nothing to tell; what failed is kept as recovered.
_FORGET = f"""
DELETE FROM dead_letter WHERE dead_letter_id = ANY(%(dead_letter_ids)s) AND cause IS NULL AND state IN {_AT_WORK}
""".encode()
_RECOVER = f"""
UPDATE dead_letter SET state = 'recovered', closed_at = clock_timestamp(), closed_by = 'retry'
 WHERE dead_letter_id = ANY(%(dead_letter_ids)s) AND state IN {_AT_WORK}
""".encode()
_FORGET_TRIES = b"""
DELETE FROM dead_letter kept USING unnest(%(epochs)b::int[], %(positions)b::bigint[]) AS had (epoch, position)
 WHERE kept.subscriber = %(subscriber)s AND kept.epoch = had.epoch AND kept.position = had.position
   AND kept.state = 'trying' AND kept.cause IS NULL
"""

#: A dead letter closes itself when its subscriber took a later event of the same subject, which tells all of it.
_SUPERSEDE = b"""
UPDATE dead_letter letter SET state = 'superseded', closed_at = clock_timestamp(),
       closed_by = 'event ' || later.epoch || '-' || later.position
  FROM unnest(%(types)b::text[], %(subjects)b::text[], %(epochs)b::int[], %(positions)b::bigint[])
       AS later (type, subject, epoch, position)
 WHERE letter.subscriber = %(subscriber)s AND letter.state = 'dead' AND letter.type = later.type
   AND letter.subject = later.subject AND (letter.epoch, letter.position) < (later.epoch, later.position)
"""

_ANY_DEAD = b"SELECT EXISTS (SELECT FROM dead_letter WHERE subscriber = %(subscriber)s AND state = 'dead')"


def keep(work: Work, claim: Claim, kept: Sequence[Kept]) -> None:
    """
    Each event as it says. Kept again, its tries count up.

    One that was kept before and now would only wait stays as it is, and so does one that a person has closed.
    """
    if kept:
        work.cursor().executemany(_KEEP, [_values(claim.subscriber, claim.partition, each) for each in kept])


def bury(work: Work, subscriber: str, event: Event, failure: Failure) -> None:
    """The event as a dead letter, after a replay that it did not get through; one that is tried again by itself stays so."""
    work.execute(_BURY, _values(subscriber, 0, Kept(event=event, state="dead", failure=failure, tries=1)))


def _values(subscriber: str, partition: int, kept: Kept) -> dict[str, object]:
    return {
        **msgspec.structs.asdict(kept.event),
        "xid": str(kept.event.xid),
        "subscriber": subscriber,
        "partition": partition,
        "state": kept.state,
        "attempts": kept.tries,
        "wait": kept.wait,
        "cause": kept.failure.cause if kept.failure else None,
        "reason": kept.failure.reason if kept.failure else None,
    }


def heads(work: Work, claim: Claim, *, limit: int = 100) -> list[Letter]:
    """The first of each waiting key whose time has come, without those of a source that is out."""
    return letters_of(work, _HEADS, {**_of(claim), "limit": limit})


def probe_of(work: Work, claim: Claim, source: str) -> Letter | None:
    """The first of a key, from *source*, with which to ask whether its outage is over; another one each time."""
    found = letters_of(work, _PROBE, {**_of(claim), "source": source})
    return found[0] if found else None


def of_keys(work: Work, claim: Claim, keys: Sequence[str], *, limit: int = 200) -> list[Letter]:
    """What waits of *keys*, in order; the first *limit* of it."""
    return letters_of(work, _OF_KEYS, {**_of(claim), "keys": list(keys), "limit": limit})


def blocked_keys(work: Work, claim: Claim) -> set[str]:
    """Keys whose next event must wait for one that failed."""
    return {key for (key,) in work.execute(_BLOCKED, _of(claim))}


def note_tries(work: Work, waits_s: Mapping[int, float]) -> dict[int, int]:
    """
    Letter → how many tries it has now, the coming one included, which may end its worker.

    *waits_s* has the seconds until it would be tried again without an outcome. Those that a person has closed are left out.
    """
    values = {"dead_letter_ids": list(waits_s), "waits_s": list(waits_s.values())}
    return dict(work.execute(_NOTE_TRIES, values).fetchall())


def recover(work: Work, dead_letter_ids: Sequence[int]) -> None:
    """These were delivered after all."""
    values = {"dead_letter_ids": list(dead_letter_ids)}
    work.execute(_FORGET, values)
    work.execute(_RECOVER, values)


def forget(work: Work, claim: Claim, events: Sequence[Event]) -> None:
    """The notes of tries that went well the first time."""
    epochs, positions = [event.epoch for event in events], [event.position for event in events]
    work.execute(_FORGET_TRIES, {"subscriber": claim.subscriber, "epochs": epochs, "positions": positions})


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


def _of(claim: Claim) -> dict[str, object]:
    return {"subscriber": claim.subscriber, "partition": claim.partition}
