"""Who reads which key partition for which subscriber, and up to where: lease, fencing token and cursor in one row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from crossdock.core.errors import LeaseLost
from crossdock.db.database import Work
from crossdock.events.model import Position


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A key partition of a subscriber that a worker may now deliver from."""

    subscriber: str
    partition: int
    partitions: int
    worker: str
    token: int
    cursor: Position
    #: The last worker died at its work, or sleeps: what follows the cursor may be what ended it.
    after_a_death: bool

    def __str__(self) -> str:
        return f"{self.subscriber}/{self.partition}"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a reader stands."""

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

#: Keys move between partitions when their number changes: all begin where the slowest was, and the inbox keeps what
#: was delivered from having its effect again.
_REARRANGE = b"""
WITH slowest AS (
    SELECT epoch, xid, position FROM event_consumer WHERE subscriber = %(subscriber)s AND partitions <> %(partitions)s
     ORDER BY epoch, xid, position LIMIT 1)
UPDATE event_consumer reader
   SET epoch = slowest.epoch, xid = slowest.xid, position = slowest.position, partitions = %(partitions)s,
       token = token + 1, holder = NULL, expires_at = '-infinity'
  FROM slowest WHERE reader.subscriber = %(subscriber)s
"""

_MOVE_FAILED = b"""
UPDATE dead_letter SET partition = (hashtext(partition_key) & 2147483647) %% %(partitions)s::int
 WHERE subscriber = %(subscriber)s AND state IN ('trying', 'retrying', 'waiting')
"""

_DROP_SURPLUS = b"DELETE FROM event_consumer WHERE subscriber = %(subscriber)s AND partition >= %(partitions)s"

#: Free, run out, or ours. The token counts up at each claim: a worker that was only asleep commits nothing more.
_CLAIM = b"""
UPDATE event_consumer reader
   SET holder = %(worker)s, token = reader.token + 1, expires_at = clock_timestamp() + %(life)s
  FROM (SELECT subscriber, partition, holder FROM event_consumer
         WHERE subscriber = %(subscriber)s AND partition = %(partition)s
           AND (holder IS NULL OR holder = %(worker)s OR expires_at < clock_timestamp())
           FOR UPDATE SKIP LOCKED) AS before
 WHERE reader.subscriber = before.subscriber AND reader.partition = before.partition
RETURNING reader.token, reader.epoch, reader.xid, reader.position, reader.partitions,
          before.holder IS NOT NULL AND before.holder <> %(worker)s
"""

_WANT = b"""
UPDATE event_consumer SET wanted_by = %(worker)s, wanted_at = clock_timestamp()
 WHERE subscriber = %(subscriber)s AND partition = %(partition)s AND holder IS DISTINCT FROM %(worker)s
"""

#: Fences, moves the cursor and renews the lease at once. Never backwards: a late repeat of a commit is harmless.
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
    The session of a connection that the server ends when it is idle in a transaction for longer than *life*.

    A handler that hangs in its transaction would keep its inbox rows from whoever takes over. Part of what the
    connection is opened with, or it would be lost with the first one.
    """
    return f"-c idle_in_transaction_session_timeout={int(life.total_seconds() * 1000)}"


class Advanced(NamedTuple):
    """What a reader learns when it moves its cursor."""

    #: Somebody whose own partition it is asks for it.
    wanted: bool
    #: The subscriber has dead letters, which a later event may close.
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

_STANDINGS = b"""
SELECT subscriber, partition, holder, expires_at > clock_timestamp(), epoch, xid, position, delivered, moved_at
  FROM event_consumer ORDER BY subscriber, partition
"""

#: Told events that a subscriber hears and has not had, by the slowest of its partitions; an upper bound. One that was
#: never started has had none: it will begin at the first.
_LAG = b"""
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(stored_at)), 0)::float8 FROM event,
       (SELECT epoch, xid, position FROM (
            SELECT epoch, xid, position FROM event_consumer WHERE subscriber = %(subscriber)s UNION ALL
            SELECT 0, '0'::xid8, 0 WHERE NOT EXISTS (SELECT FROM event_consumer WHERE subscriber = %(subscriber)s)) AS all_of_it
         ORDER BY epoch, xid, position LIMIT 1) AS slowest
 WHERE (event.epoch, event.xid, event.position) > (slowest.epoch, slowest.xid, slowest.position)
   AND NOT silent AND type = ANY(%(types)s)
"""


def register(work: Work, subscriber: str, partitions: int) -> None:
    """The rows that *subscriber* is read by. Does nothing when they are there; a new number begins at the slowest."""
    values = {"subscriber": subscriber, "partitions": partitions}
    work.execute(_REGISTER, values)
    if work.execute(_REARRANGE, values).rowcount:
        work.execute(_DROP_SURPLUS, values)
        work.execute(_MOVE_FAILED, values)


def claim(work: Work, subscriber: str, partition: int, worker: str, life: timedelta) -> Claim | None:
    """The partition, for *worker* alone; None while another live worker has it."""
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


def want(work: Work, subscriber: str, partition: int, worker: str) -> None:
    """Asks whoever has the partition on loan to give it back to the worker whose own it is."""
    work.execute(_WANT, {"subscriber": subscriber, "partition": partition, "worker": worker})


def advance(work: Work, claim: Claim, cursor: Position, *, delivered: int, life: timedelta) -> Advanced:
    """
    The cursor at *cursor* and the lease alive, in the transaction of the effects.

    Raises:
        LeaseLost: another worker has it; nothing of this transaction may be committed.

    """
    values = {**_of(claim), **cursor._asdict(), "xid": str(cursor.xid), "delivered": delivered, "life": life}
    return Advanced(*_held(work, _ADVANCE, claim, values))


def renew(work: Work, claim: Claim, life: timedelta) -> bool:
    """The lease, alive for another *life*. Whether somebody else wants the partition. Raises LeaseLost."""
    return bool(_held(work, _RENEW, claim, {**_of(claim), "life": life})[0])


def _held(work: Work, statement: bytes, claim: Claim, values: dict[str, object]) -> tuple[Any, ...]:
    row = work.execute(statement, values, prepare=True).fetchone()
    if row is None:
        raise LeaseLost(f"the events of {claim}", claim.worker, None)
    return row


def release(work: Work, claims: Sequence[Claim]) -> None:
    """The partitions, free for the next worker at once. Does nothing for those that were lost."""
    for held in claims:
        work.execute(_RELEASE, _of(held))


def standings(work: Work) -> list[Standing]:
    return [
        Standing(
            subscriber=subscriber,
            partition=partition,
            holder=holder,
            alive=alive,
            cursor=Position(epoch, xid, position),
            delivered=delivered,
            moved_at=moved_at,
        )
        for subscriber, partition, holder, alive, epoch, xid, position, delivered, moved_at in work.execute(_STANDINGS)
    ]


def lag(work: Work, subscriber: str, types: Sequence[str]) -> tuple[int, float]:
    """How many events *subscriber* has still to hear, and the age of the oldest in seconds."""
    row = work.execute(_LAG, {"subscriber": subscriber, "types": list(types)}).fetchone()
    return (int(row[0]), float(row[1])) if row else (0, 0.0)


def _of(claim: Claim) -> dict[str, object]:
    return {
        "subscriber": claim.subscriber,
        "partition": claim.partition,
        "worker": claim.worker,
        "token": claim.token,
    }
