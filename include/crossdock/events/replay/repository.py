"""SQL of requested replays: their kind, rate, progress and state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from crossdock.core.errors import Conflict, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Work


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """A requested replay and its progress."""

    replay_id: int
    #: "events", "dead_letters" or "quarantine".
    kind: str
    request: dict[str, Any]
    #: Events per second at most; None for no limit.
    rate: float | None
    state: str
    total: int
    done: int
    failed: int
    actor: str
    requested_at: datetime
    ended_at: datetime | None


_COLUMNS = "replay_id, kind, request, rate, state, total, done, failed, actor, requested_at, ended_at"

_ADD = f"""
INSERT INTO event_replay (kind, request, rate, total, actor)
VALUES (%(kind)s, %(request)s, %(rate)s, %(total)s, %(actor)s) RETURNING {_COLUMNS}
""".encode()

#: Written once, in rows of their own: in the request they would be written with each slice.
_CHOOSE = b"""
INSERT INTO event_replay_chosen (replay_id, nth, chosen_id)
SELECT %(replay_id)s, ids.nth - 1, ids.id FROM unnest(%(ids)b::bigint[]) WITH ORDINALITY AS ids (id, nth)
"""

_CHOSEN = b"""
SELECT chosen_id FROM event_replay_chosen
 WHERE replay_id = %(replay_id)s AND nth >= %(first)s AND nth < %(first)s + %(limit)s ORDER BY nth
"""

_OF_CHOSEN = f"""
SELECT {_COLUMNS} FROM event_replay
 WHERE replay_id IN (SELECT replay_id FROM event_replay_chosen WHERE chosen_id = %(chosen_id)s) AND kind = %(kind)s
 ORDER BY replay_id DESC LIMIT %(limit)s
""".encode()

_GET = f"SELECT {_COLUMNS} FROM event_replay WHERE replay_id = %(replay_id)s".encode()

_NEWEST = f"SELECT {_COLUMNS} FROM event_replay ORDER BY replay_id DESC LIMIT %(limit)s".encode()

#: The oldest open replay without a live worker; a worker that died is replaced when its claim expires.
_CLAIM = f"""
UPDATE event_replay SET worker = %(worker)s, worker_until = clock_timestamp() + %(life)s
 WHERE replay_id = (SELECT replay_id FROM event_replay
                     WHERE state = 'open' AND (%(replay_id)s::bigint IS NULL OR replay_id = %(replay_id)s)
                       AND (worker_until < clock_timestamp() OR worker = %(worker)s)
                     ORDER BY replay_id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING {_COLUMNS}
""".encode()

_PROGRESS = b"""
UPDATE event_replay SET done = done + %(done)s, failed = failed + %(failed)s, request = %(request)s,
       worker_until = clock_timestamp() + %(life)s
 WHERE replay_id = %(replay_id)s AND state = 'open' AND worker = %(worker)s
"""

_RENEW = b"""
UPDATE event_replay SET worker_until = clock_timestamp() + %(life)s
 WHERE replay_id = %(replay_id)s AND state = 'open' AND worker = %(worker)s
"""

_RESCHEDULE = b"""
UPDATE event_replay SET worker = NULL, worker_until = clock_timestamp() + %(wait)s
 WHERE replay_id = %(replay_id)s AND state = 'open' AND worker = %(worker)s
"""

_END = b"""
UPDATE event_replay SET state = %(state)s, ended_at = clock_timestamp(), worker_until = '-infinity'
 WHERE replay_id = %(replay_id)s AND state = 'open'
"""


def add(
    work: Work,
    *,
    kind: str,
    request: dict[str, Any],
    rate: float | None,
    total: int,
    actor: str,
    chosen: Sequence[int] = (),
) -> Replay:
    """Insert an open replay; *chosen* are the ids of its dead letters or quarantine items."""
    values = {"kind": kind, "request": Jsonb(request), "rate": rate, "total": total, "actor": actor}
    replay = _replay(work.execute(_ADD, values).fetchone() or ())
    if chosen:
        work.execute(_CHOOSE, {"replay_id": replay.replay_id, "ids": list(chosen)})
    return replay


def chosen(work: Work, replay_id: int, first: int, limit: int) -> list[int]:
    """Select the chosen ids of the replay, from the *first* one on, at most *limit*."""
    values = {"replay_id": replay_id, "first": first, "limit": limit}
    return [chosen_id for (chosen_id,) in work.execute(_CHOSEN, values)]


def of_chosen(work: Work, kind: str, chosen_id: int, *, limit: int) -> list[Replay]:
    """List the replays of one dead letter or quarantine item, newest first."""
    values = {"kind": kind, "chosen_id": chosen_id, "limit": limit}
    return [_replay(row) for row in work.execute(_OF_CHOSEN, values)]


def get(work: Work, replay_id: int) -> Replay:
    """
    Select the replay.

    Raises:
        NotFound: there is no such replay.

    """
    row = work.execute(_GET, {"replay_id": replay_id}).fetchone()
    if row is None:
        raise NotFound(f"There is no replay {replay_id}", hint=Hint(HintId.LIST_REPLAYS))
    return _replay(row)


def newest(work: Work, *, limit: int = 10) -> list[Replay]:
    """List the latest replays, newest first."""
    return [_replay(row) for row in work.execute(_NEWEST, {"limit": limit})]


def claim(work: Work, worker: str, life: timedelta, *, replay_id: int | None = None) -> Replay | None:
    """Claim an open replay for *worker*; None when all are claimed or ended."""
    row = work.execute(_CLAIM, {"worker": worker, "life": life, "replay_id": replay_id}).fetchone()
    return _replay(row) if row else None


def progress(
    work: Work, replay: Replay, worker: str, request: dict[str, Any], *, done: int, failed: int, life: timedelta
) -> bool:
    """Record the result of a slice, in its transaction. False when the replay was stopped or lost: then roll back."""
    values = {
        "replay_id": replay.replay_id,
        "worker": worker,
        "request": Jsonb(request),
        "done": done,
        "failed": failed,
        "life": life,
    }
    return work.execute(_PROGRESS, values).rowcount == 1


def renew(work: Work, replay_id: int, worker: str, life: timedelta) -> bool:
    """Renew the claim for another *life*. False when the replay was stopped or lost: then roll back."""
    return work.execute(_RENEW, {"replay_id": replay_id, "worker": worker, "life": life}).rowcount == 1


def reschedule(work: Work, replay_id: int, worker: str, wait: timedelta) -> None:
    """Release the replay for any worker after *wait*. The replay of another worker is not changed."""
    work.execute(_RESCHEDULE, {"replay_id": replay_id, "worker": worker, "wait": wait})


def end(work: Work, replay_id: int, state: str) -> None:
    """
    End the replay as "done", "stopped" or "failed".

    Raises:
        Conflict: it has ended already.

    """
    if work.execute(_END, {"replay_id": replay_id, "state": state}).rowcount == 0:
        raise Conflict(f"Replay {replay_id} is {get(work, replay_id).state} already")


def _replay(row: tuple[Any, ...]) -> Replay:
    names = (name.strip() for name in _COLUMNS.split(","))
    return Replay(**dict(zip(names, row, strict=True)))
