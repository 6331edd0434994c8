"""
Idempotency keys of REST calls: one effect for each key, and its answer for whoever sends the request again.

The answer is stored in the transaction of the effect, so that there are both or neither. While a request is running, its key is
locked by the session or the transaction that carries it out: a process that dies unlocks it, and leaves no row behind.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from psycopg.types.json import Jsonb

from crossdock.core.errors import Conflict, Terminal
from crossdock.db.database import Work


class StillRunning(Conflict):
    """The first request with this key has not ended."""

    def __init__(self) -> None:
        super().__init__("The first request with this Idempotency-Key is still running. Send it again for its answer")


class KeyReused(Terminal):
    """The key came with another request before."""

    def __init__(self, key: str) -> None:
        super().__init__(f"The Idempotency-Key {key!r} was used for another request. Use a new key for each request")


@dataclass(frozen=True)
class RequestKey:
    """A caller's key for one route, and a fingerprint of the request. What is stored shows neither the key nor the body."""

    #: As the caller wrote it, for messages to the caller.
    name: str
    key_hash: bytes
    fingerprint: bytes

    @classmethod
    def of(cls, key: str, *, caller: str, route: str, request: bytes) -> Self:
        """Scope *key* by *caller* and *route* (method and path template); *request* is all that it must not differ in."""
        scoped = f"{caller}\x00{route}\x00{key}".encode()
        return cls(key, hashlib.sha256(scoped).digest(), hmac.digest(scoped, request, "sha256"))

    @property
    def lock_no(self) -> int:
        """A number for PostgreSQL's advisory locks, which are signed 64-bit."""
        return int.from_bytes(self.key_hash[:8], "big", signed=True)


@dataclass(frozen=True)
class Answer:
    """The answer to a request, as it is sent."""

    status: int
    #: Only those that a client reads, such as ETag and Location.
    headers: Mapping[str, str]
    body: bytes


_LOCK_TRANSACTION = b"SELECT pg_try_advisory_xact_lock(%(lock_no)s::bigint)"
_LOCK_SESSION = b"SELECT pg_try_advisory_lock(%(lock_no)s::bigint)"
_UNLOCK_SESSION = b"SELECT pg_advisory_unlock(%(lock_no)s::bigint)"

_FIND = b"SELECT fingerprint, status, headers, body FROM idempotency_key WHERE key_hash = %(key_hash)s"

_STORE = b"""
INSERT INTO idempotency_key (key_hash, fingerprint, status, headers, body)
VALUES (%(key_hash)s, %(fingerprint)s, %(status)s, %(headers)s, %(body)s)
"""

_DELETE = b"""
DELETE FROM idempotency_key WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM idempotency_key WHERE stored_at < %(before)s LIMIT %(limit)s))
"""


def lock_for_transaction(work: Work, key: RequestKey) -> None:
    """
    Lock *key* until the transaction ends, by commit, rollback or the death of its process.

    Raises:
        StillRunning: another transaction or session has it.

    """
    _lock(work, _LOCK_TRANSACTION, key)


def lock_for_session(work: Work, key: RequestKey) -> None:
    """
    Lock *key* until `unlock_session`, or the connection's end: no transaction stays open during a call to another system.

    Raises:
        StillRunning: another transaction or session has it.

    """
    _lock(work, _LOCK_SESSION, key)


def unlock_session(work: Work, key: RequestKey) -> None:
    """Release the lock of `lock_for_session`."""
    work.execute(_UNLOCK_SESSION, {"lock_no": key.lock_no})


def _lock(work: Work, statement: bytes, key: RequestKey) -> None:
    row = work.execute(statement, {"lock_no": key.lock_no}).fetchone()
    if row is None or not row[0]:
        raise StillRunning


def find(work: Work, key: RequestKey) -> Answer | None:
    """
    Find the answer that was stored for *key*. Call it with the key locked.

    Raises:
        KeyReused: it was stored for another request.

    """
    row = work.execute(_FIND, {"key_hash": key.key_hash}).fetchone()
    if row is None:
        return None
    fingerprint, status, headers, body = row
    if not hmac.compare_digest(bytes(fingerprint), key.fingerprint):
        raise KeyReused(key.name)
    return Answer(status, headers, bytes(body))


def store(work: Work, key: RequestKey, answer: Answer) -> None:
    """Store the answer, in the transaction of the effect."""
    work.execute(
        _STORE,
        {
            "key_hash": key.key_hash,
            "fingerprint": key.fingerprint,
            "status": answer.status,
            "headers": Jsonb(dict(answer.headers)),
            "body": answer.body,
        },
    )


def delete_expired(work: Work, *, before: datetime, limit: int) -> int:
    """Delete at most *limit* answers that were stored before *before*, and return how many."""
    return work.execute(_DELETE, {"before": before, "limit": limit}).rowcount
