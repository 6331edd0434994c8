"""Leases: which run may write a stream now, with a fencing token against runs that lost their lease unnoticed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast

import msgspec

from crossdock.core.errors import LeaseHeld, LeaseLost
from crossdock.db.database import Work


class LeaseKey(msgspec.Struct, frozen=True):
    """The subject of a lease."""

    integration: str
    dataset: str
    shard: str = "all"

    @property
    def stream(self) -> str:
        """`<integration>.<dataset>`."""
        return stream_id(self.integration, self.dataset)

    def __str__(self) -> str:
        return f"{self.stream} ({self.shard})"


def stream_id(integration: str, dataset: str) -> str:
    """Name the stream of *dataset* of *integration*: `commercetools.inventory`."""
    return f"{integration}.{dataset}"


#: Takes a lease that is free, expired, ours already, or whose holder has ended; otherwise returns no row.
#: The token counts up each time, also for the run that has it: Airflow starts a task again if its worker sends no
#: heartbeats for long, and a worker that was only asleep must not write beside its own successor.
_TAKE = b"""
INSERT INTO lease AS held (integration, dataset, shard, holder, token, expires_at)
VALUES (%(integration)s, %(dataset)s, %(shard)s, %(run_id)s, 1, clock_timestamp() + %(life)s)
ON CONFLICT (integration, dataset, shard) DO UPDATE
   SET token = held.token + 1,
       holder = excluded.holder,
       expires_at = excluded.expires_at
 WHERE held.holder = excluded.holder
    OR held.expires_at < clock_timestamp()
    OR EXISTS (SELECT FROM sync_run WHERE run_id = held.holder AND state <> 'running')
RETURNING token
"""

_HOLDER = b"""
SELECT holder, greatest(extract(epoch FROM expires_at - clock_timestamp()), 1)::float8
  FROM lease WHERE integration = %(integration)s AND dataset = %(dataset)s AND shard = %(shard)s
"""

_LIVE_HOLDER = b"""
SELECT holder FROM lease
 WHERE integration = %(integration)s AND dataset = %(dataset)s AND shard = %(shard)s AND expires_at > clock_timestamp()
"""

#: FOR SHARE: a lease cannot change hands under a commit, and two batches of one run need not wait for each other.
_CHECK = b"""
SELECT holder, token FROM lease
 WHERE integration = %(integration)s AND dataset = %(dataset)s AND shard = %(shard)s
   FOR SHARE
"""

_FREE_SINCE = b"""
SELECT expires_at FROM lease
 WHERE integration = %(integration)s AND dataset = %(dataset)s AND shard = %(shard)s
   AND expires_at < clock_timestamp() AND isfinite(expires_at)
"""

_RENEW = b"""
UPDATE lease SET expires_at = clock_timestamp() + %(life)s
 WHERE integration = %(integration)s AND dataset = %(dataset)s AND shard = %(shard)s
   AND holder = %(run_id)s AND token = %(token)s
"""

_RELEASE = b"""
UPDATE lease SET expires_at = clock_timestamp()
 WHERE integration = %(integration)s AND dataset = %(dataset)s AND shard = %(shard)s
   AND holder = %(run_id)s
"""

_RECORD_TOKEN = b"UPDATE sync_run SET fencing_token = %(token)s WHERE run_id = %(run_id)s"

#: The run with the lease is the only one that works: another run without an end belongs to a worker that died.
_END_OVERTAKEN = b"""
UPDATE sync_run SET state = 'failed', finished_at = clock_timestamp(), error = %(error)s
 WHERE integration = %(integration)s AND dataset = %(dataset)s AND shard = %(shard)s
   AND run_id <> %(run_id)s AND state = 'running' AND fencing_token > 0
"""


def take(work: Work, key: LeaseKey, run_id: str, life: timedelta) -> int:
    """
    Acquire the lease for *run_id* and return the fencing token under which it may write; the run records it too.

    Runs that it overtakes end as failed: nobody else would ever write their end.

    Raises:
        LeaseHeld: another live run has it. Retrying after the lease's life may succeed.

    """
    values = {**msgspec.structs.asdict(key), "run_id": run_id, "life": life}
    taken = work.execute(_TAKE, values).fetchone()
    if taken is None:
        held = work.execute(_HOLDER, values).fetchone()
        raise LeaseHeld(str(key), *(held or ("unknown", 1.0)))
    work.execute(_RECORD_TOKEN, {"token": taken[0], "run_id": run_id})
    work.execute(_END_OVERTAKEN, {**values, "error": f"Worker stopped sending heartbeats; run {run_id} took over"})
    return int(taken[0])


def renew(work: Work, key: LeaseKey, run_id: str, token: int, life: timedelta) -> None:
    """
    Renew the lease for another *life*.

    Raises:
        LeaseLost: another run has it. Anything that this run would write now is refused.

    """
    values = {**msgspec.structs.asdict(key), "run_id": run_id, "token": token, "life": life}
    if work.execute(_RENEW, values).rowcount == 0:
        other = work.execute(_HOLDER, values).fetchone()
        raise LeaseLost(str(key), run_id, other[0] if other else None)


def holder(work: Work, key: LeaseKey) -> str | None:
    """Name the run that has the lease and renews it; None if nobody does."""
    row = work.execute(_LIVE_HOLDER, msgspec.structs.asdict(key)).fetchone()
    return str(row[0]) if row else None


def free_since(work: Work, key: LeaseKey) -> datetime | None:
    """Read when the lease ran out or was released; None if somebody holds it, or nobody ever did."""
    row = work.execute(_FREE_SINCE, msgspec.structs.asdict(key)).fetchone()
    return cast("datetime", row[0]) if row else None


def check(work: Work, key: LeaseKey, run_id: str, token: int) -> None:
    """
    Check that *run_id* still holds the lease under its token, and lock the lease's row until the commit.

    An expired lease that nobody took is still ours: the token fences, not the clock.

    Raises:
        LeaseLost: another run has taken it. Terminal: that run reads what this one has not loaded.

    """
    row = work.execute(_CHECK, msgspec.structs.asdict(key)).fetchone()
    if row is None or (row[0], row[1]) != (run_id, token):
        raise LeaseLost(str(key), run_id, row[0] if row else None)


def release(work: Work, key: LeaseKey, run_id: str) -> None:
    """Free the lease for the next run. Does nothing if another run has it. Idempotent."""
    work.execute(_RELEASE, {**msgspec.structs.asdict(key), "run_id": run_id})
