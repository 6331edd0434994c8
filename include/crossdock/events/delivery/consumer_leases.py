"""The lease, fencing token and cursor of each key partition of each subscriber, in one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from crossdock.core.errors import LeaseLost
from crossdock.db.database import Work
from crossdock.events import counts_repository
from crossdock.events.model import Position


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A key partition of a subscriber, leased to a worker."""

    subscriber: str
    partition: int
    partitions: int
    worker: str
    token: int
    cursor: Position
    #: The last worker died or hangs: an event after the cursor may have killed it.
    after_a_death: bool

    def __str__(self) -> str:
        return f"{self.subscriber}/{self.partition}"


class ConsumerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a subscriber's consumer in one key partition."""

    subscriber: str
    partition: int
    holder: str | None
    alive: bool
    cursor: Position
    delivered: int
    moved_at: datetime


_REGISTER = b"""
INSERT INTO event_consumer (subscriber, partition, partitions)
SELECT %(subscriber)s, n, %(partitions)s FROM generate_series(0, %(partitions)s - 1) AS n
ON CONFLICT (subscriber, partition) DO NOTHING
"""

#: Keys move between partitions when their number changes: all begin at the slowest cursor, and the inbox deduplicates
#: what was delivered.
_REARRANGE = b"""
WITH slowest AS (
    SELECT epoch, xid, position FROM event_consumer WHERE subscriber = %(subscriber)s AND partitions <> %(partitions)s
     ORDER BY epoch, xid, position LIMIT 1)
UPDATE event_consumer consumer
   SET epoch = slowest.epoch, xid = slowest.xid, position = slowest.position, partitions = %(partitions)s,
       token = token + 1, holder = NULL, expires_at = '-infinity'
  FROM slowest WHERE consumer.subscriber = %(subscriber)s
"""

_MOVE_RETRIES = b"""
UPDATE dead_letter SET partition = (hashtext(partition_key) & 2147483647) %% %(partitions)s::int
 WHERE subscriber = %(subscriber)s AND state IN ('trying', 'retrying', 'waiting')
"""

_DROP_SURPLUS = b"DELETE FROM event_consumer WHERE subscriber = %(subscriber)s AND partition >= %(partitions)s"

#: Free, expired, or ours. The fencing token counts up at each claim: a worker that was only asleep cannot commit.
_CLAIM = b"""
UPDATE event_consumer consumer
   SET holder = %(worker)s, token = consumer.token + 1, expires_at = clock_timestamp() + %(life)s
  FROM (SELECT subscriber, partition, holder FROM event_consumer
         WHERE subscriber = %(subscriber)s AND partition = %(partition)s
           AND (holder IS NULL OR holder = %(worker)s OR expires_at < clock_timestamp())
           FOR UPDATE SKIP LOCKED) AS before
 WHERE consumer.subscriber = before.subscriber AND consumer.partition = before.partition
RETURNING consumer.token, consumer.epoch, consumer.xid, consumer.position, consumer.partitions,
          before.holder IS NOT NULL AND before.holder <> %(worker)s
"""

_REQUEST = b"""
UPDATE event_consumer SET wanted_by = %(worker)s, wanted_at = clock_timestamp()
 WHERE subscriber = %(subscriber)s AND partition = %(partition)s AND holder IS DISTINCT FROM %(worker)s
"""

#: Checks the fencing token, moves the cursor and renews the lease at once. A repeated commit is harmless.
_ADVANCE = b"""
UPDATE event_consumer
   SET epoch = %(epoch)s, xid = %(xid)s::text::xid8, position = %(position)s, moved_at = clock_timestamp(),
       delivered = delivered + %(delivered)s, expires_at = clock_timestamp() + %(life)s
 WHERE subscriber = %(subscriber)s AND partition = %(partition)s AND holder = %(worker)s AND token = %(token)s
RETURNING wanted_by IS DISTINCT FROM holder AND wanted_at > clock_timestamp() - interval '2 seconds',
          EXISTS (SELECT FROM dead_letter WHERE dead_letter.subscriber = %(subscriber)s AND state = 'dead')
"""


def ended_when_idle(life: timedelta) -> str:
    """
    Build the session settings of a connection that the server ends when a transaction is idle for longer than *life*.

    A subscriber that hangs in its transaction would lock its inbox rows against the worker that takes over. The setting
    belongs to the connection's options, so that a new connection has it too.
    """
    return f"-c idle_in_transaction_session_timeout={int(life.total_seconds() * 1000)}"


class Advanced(NamedTuple):
    """The result of moving a consumer's cursor."""

    #: The worker that the partition is assigned to asks for it.
    is_requested: bool
    #: The subscriber has dead letters, which a later event may supersede.
    has_dead: bool


_RENEW = b"""
UPDATE event_consumer SET expires_at = clock_timestamp() + %(life)s
 WHERE subscriber = %(subscriber)s AND partition = %(partition)s AND holder = %(worker)s AND token = %(token)s
RETURNING wanted_by IS DISTINCT FROM holder AND wanted_at > clock_timestamp() - interval '2 seconds'
"""

_RELEASE = b"""
UPDATE event_consumer SET holder = NULL, expires_at = '-infinity'
 WHERE subscriber = %(subscriber)s AND partition = %(partition)s AND holder = %(worker)s AND token = %(token)s
"""

_LIST = b"""
SELECT subscriber, partition, holder, expires_at > clock_timestamp(), epoch, xid, position, delivered, moved_at
  FROM event_consumer ORDER BY subscriber, partition
"""

#: For each subscriber the next events after the place of its slowest partition, of all types: so many, and no more, are looked
#: at one by one. A subscriber that was never started has no place: it will begin at the first event.
_NEXT = b"""
SELECT name, seen, first, number, oldest
  FROM unnest(%(names)s::text[], %(types)s::text[]) AS subscriber (name, of_types)
  LEFT JOIN LATERAL (SELECT epoch, xid, position FROM event_consumer WHERE event_consumer.subscriber = name
                      ORDER BY event_consumer.epoch, event_consumer.xid, event_consumer.position LIMIT 1) AS slowest ON true
 CROSS JOIN LATERAL (
    SELECT count(*) AS seen, min(stored_at) AS first,
           count(*) FILTER (WHERE type = ANY(string_to_array(of_types, ' ')) AND NOT silent) AS number,
           min(stored_at) FILTER (WHERE type = ANY(string_to_array(of_types, ' ')) AND NOT silent) AS oldest
      FROM (SELECT type, silent, stored_at FROM event
             WHERE (epoch, xid, position)
                   > (coalesce(slowest.epoch, 0), coalesce(slowest.xid, '0'::xid8), coalesce(slowest.position, 0))
             ORDER BY event.epoch, event.xid, event.position LIMIT %(limit)s) AS next) AS looked
"""
_LOOKED_AT = 20_000


def register(work: Work, subscriber: str, partitions: int) -> None:
    """Create the rows of *subscriber* where they are missing; a changed number of partitions begins at the slowest."""
    values = {"subscriber": subscriber, "partitions": partitions}
    work.execute(_REGISTER, values)
    if work.execute(_REARRANGE, values).rowcount:
        work.execute(_DROP_SURPLUS, values)
        work.execute(_MOVE_RETRIES, values)


def claim(work: Work, subscriber: str, partition: int, worker: str, life: timedelta) -> Claim | None:
    """Lease the partition to *worker*; None while another live worker has it."""
    values = {"subscriber": subscriber, "partition": partition, "worker": worker, "life": life}
    row = work.execute(_CLAIM, values).fetchone()
    if row is None:
        return None
    token, epoch, xid, position, partitions, after_a_death = row
    return Claim(
        subscriber=subscriber,
        partition=partition,
        partitions=partitions,
        worker=worker,
        token=token,
        cursor=Position(epoch, xid, position),
        after_a_death=after_a_death,
    )


def request(work: Work, subscriber: str, partition: int, worker: str) -> None:
    """Ask the holder of a borrowed partition to release it for *worker*, to which it is assigned."""
    work.execute(_REQUEST, {"subscriber": subscriber, "partition": partition, "worker": worker})


def advance(work: Work, claim: Claim, cursor: Position, *, delivered: int, life: timedelta) -> Advanced:
    """
    Move the cursor to *cursor* and renew the lease, in the transaction of the effects.

    Raises:
        LeaseLost: another worker has it; nothing of this transaction may be committed.

    """
    values = {**_of(claim), **cursor._asdict(), "xid": str(cursor.xid), "delivered": delivered, "life": life}
    return Advanced(*_held(work, _ADVANCE, claim, values))


def renew(work: Work, claim: Claim, life: timedelta) -> bool:
    """
    Renew the lease for another *life*; return whether another worker wants the partition.

    Raises:
        LeaseLost: another worker has it.

    """
    return bool(_held(work, _RENEW, claim, {**_of(claim), "life": life})[0])


def _held(work: Work, statement: bytes, claim: Claim, values: dict[str, object]) -> tuple[Any, ...]:
    row = work.execute(statement, values, prepare=True).fetchone()
    if row is None:
        raise LeaseLost(f"the events of {claim}", claim.worker, None)
    return row


def release(work: Work, claims: Sequence[Claim]) -> None:
    """Release the partitions, so that the next worker has them at once. Lost leases are not touched."""
    for held in claims:
        work.execute(_RELEASE, _of(held))


def list_all(work: Work) -> list[ConsumerStatus]:
    """List the consumers of all subscribers, by partition."""
    return [
        ConsumerStatus(
            subscriber=subscriber,
            partition=partition,
            holder=holder,
            alive=alive,
            cursor=Position(epoch, xid, position),
            delivered=delivered,
            moved_at=moved_at,
        )
        for subscriber, partition, holder, alive, epoch, xid, position, delivered, moved_at in work.execute(_LIST)
    ]


def lags(work: Work, subscribers: Mapping[str, Sequence[str]]) -> dict[str, tuple[int, float]]:
    """
    Count for each subscriber the events of its types that it has not had yet; with the age of the oldest in seconds.

    Those behind the cursor of its slowest partition, which is too many rather than too few. Where these are more than
    `_LOOKED_AT`, by whole hours, and without the newest that nobody has counted yet.
    """
    work.execute(b"SELECT set_config('enable_sort', 'off', true)")
    types = [" ".join(of) for of in subscribers.values()]
    values = {"names": list(subscribers), "types": types, "limit": _LOOKED_AT}
    found = {}
    for name, seen, first, looked_at, since in work.execute(_NEXT, values).fetchall():
        number, oldest = looked_at, since
        if seen >= _LOOKED_AT:
            counted, hour = counts_repository.waiting_since(work, subscribers[name], first)
            number, oldest = max(number, counted), oldest or hour
        age_s = max((datetime.now(UTC) - oldest).total_seconds(), 0.0) if oldest else 0.0
        found[name] = int(number), age_s
    return found


def _of(claim: Claim) -> dict[str, object]:
    return {
        "subscriber": claim.subscriber,
        "partition": claim.partition,
        "worker": claim.worker,
        "token": claim.token,
    }
