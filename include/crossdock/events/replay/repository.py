"""Replays that somebody asked for: what, how fast, how far, and whether it was stopped."""

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
    """A replay as it stands."""

    replay_id: int
    #: "events", "letters" or "quarantine".
    what: str
    request: dict[str, Any]
    #: At most so many a second; None for as fast as it goes.
    rate: float | None
    state: str
    total: int
    done: int
    failed: int
    actor: str
    asked_at: datetime
    ended_at: datetime | None


_COLUMNS = "replay_id, what, request, rate, state, total, done, failed, actor, asked_at, ended_at"

_ADD = f"""
INSERT INTO event_replay (what, request, rate, total, actor)
VALUES (%(what)s, %(request)s, %(rate)s, %(total)s, %(actor)s) RETURNING {_COLUMNS}
""".encode()

#: Once, and in rows of their own: in the request they would be written anew with each slice.
_CHOOSE = b"""
INSERT INTO event_replay_chosen (replay_id, nth, chosen_id)
SELECT %(replay_id)s, ids.nth - 1, ids.id FROM unnest(%(ids)b::bigint[]) WITH ORDINALITY AS ids (id, nth)
"""

_CHOSEN = b"""
SELECT chosen_id FROM event_replay_chosen
 WHERE replay_id = %(replay_id)s AND nth >= %(first)s AND nth < %(first)s + %(limit)s ORDER BY nth
"""

_GET = f"SELECT {_COLUMNS} FROM event_replay WHERE replay_id = %(replay_id)s".encode()

_NEWEST = f"SELECT {_COLUMNS} FROM event_replay ORDER BY replay_id DESC LIMIT %(limit)s".encode()

#: The oldest open one that nobody works on; a worker that died is replaced when its time is over.
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

_PUT_OFF = b"""
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
    what: str,
    request: dict[str, Any],
    rate: float | None,
    total: int,
    actor: str,
    chosen: Sequence[int] = (),
) -> Replay:
    """An open replay; *chosen*: the numbers of the letters or items that it is of."""
    values = {"what": what, "request": Jsonb(request), "rate": rate, "total": total, "actor": actor}
    replay = _replay(work.execute(_ADD, values).fetchone() or ())
    if chosen:
        work.execute(_CHOOSE, {"replay_id": replay.replay_id, "ids": list(chosen)})
    return replay


def chosen(work: Work, replay_id: int, first: int, limit: int) -> list[int]:
    """The numbers that the replay is of, from its *first*, at most *limit*."""
    values = {"replay_id": replay_id, "first": first, "limit": limit}
    return [number for (number,) in work.execute(_CHOSEN, values)]


def get(work: Work, replay_id: int) -> Replay:
    """
    The replay.

    Raises:
        NotFound: there is none.

    """
    row = work.execute(_GET, {"replay_id": replay_id}).fetchone()
    if row is None:
        raise NotFound(f"There is no replay {replay_id}", hint=Hint(HintId.LIST_REPLAYS))
    return _replay(row)


def newest(work: Work, *, limit: int = 10) -> list[Replay]:
    return [_replay(row) for row in work.execute(_NEWEST, {"limit": limit})]


def claim(work: Work, worker: str, life: timedelta, *, replay_id: int | None = None) -> Replay | None:
    """An open replay for *worker* alone; None when there is none that nobody works on."""
    row = work.execute(_CLAIM, {"worker": worker, "life": life, "replay_id": replay_id}).fetchone()
    return _replay(row) if row else None


def progress(
    work: Work, replay: Replay, worker: str, request: dict[str, Any], *, done: int, failed: int, life: timedelta
) -> bool:
    """Notes what a slice did, in its transaction. False when the replay was stopped or lost: then nothing may commit."""
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
    """The claim, alive for another *life*. False when the replay was stopped or lost: then nothing may commit."""
    return work.execute(_RENEW, {"replay_id": replay_id, "worker": worker, "life": life}).rowcount == 1


def put_off(work: Work, replay_id: int, worker: str, wait: timedelta) -> None:
    """The replay, free for whoever comes first in *wait*. Does nothing when it is not *worker*'s."""
    work.execute(_PUT_OFF, {"replay_id": replay_id, "worker": worker, "wait": wait})


def end(work: Work, replay_id: int, state: str) -> None:
    """
    The replay, ended as "done", "stopped" or "failed".

    Raises:
        Conflict: it has ended already.

    """
    if work.execute(_END, {"replay_id": replay_id, "state": state}).rowcount == 0:
        raise Conflict(f"Replay {replay_id} is {get(work, replay_id).state} already")


def _replay(row: tuple[Any, ...]) -> Replay:
    names = (name.strip() for name in _COLUMNS.split(","))
    return Replay(**dict(zip(names, row, strict=True)))
