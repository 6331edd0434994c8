"""The attempt log in the database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

import msgspec
import psycopg
from psycopg.rows import kwargs_row

from crossdock.core.decoding import prepare
from crossdock.core.errors import Conflict, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Work
from crossdock.integrations.attempts.model import Attempt, KeyReused, Outcome, Resolution, Write

prepare(Attempt)

#: A process that was killed leaves an open row. It reads as unknown from the moment at which its call would have ended.
_COLUMNS = b"""attempt_id, integration, action, key, request_digest, sent_at, known_at, resolution,
       clock_timestamp() - sent_at AS age,
       CASE WHEN outcome = 'open' AND open_until < clock_timestamp() THEN 'unknown' ELSE outcome END AS outcome"""

_ADD = (
    b"""
INSERT INTO attempt (integration, action, key, request_digest, open_until)
VALUES (%(integration)s, %(action)s, %(key)s, %(request_digest)s, clock_timestamp() + %(longest)s)
ON CONFLICT (integration, key) DO NOTHING
RETURNING """
    + _COLUMNS
)

#: FOR UPDATE: of two callers that find an attempt without effect, one sends, and the other finds it open.
_LOCK = b"SELECT " + _COLUMNS + b" FROM attempt WHERE integration = %(integration)s AND key = %(key)s FOR UPDATE"

_REOPEN = (
    b"""
UPDATE attempt SET sent_at = clock_timestamp(), open_until = clock_timestamp() + %(longest)s, outcome = 'open',
       known_at = NULL, resolution = NULL
 WHERE attempt_id = %(attempt_id)s
RETURNING """
    + _COLUMNS
)

#: Two calls with one key may end in any order: done outweighs unknown, which outweighs a refusal of either, unless the
#: system repeated its decision about the key. sent_at is there for a process that slept until its attempt was resolved and reopened: its outcome is not that of the newer request.
_END = b"""
UPDATE attempt
   SET outcome = %(outcome)s, resolution = %(resolution)s,
       known_at = CASE WHEN %(outcome)s <> 'unknown' THEN clock_timestamp() END
 WHERE attempt_id = %(attempt_id)s AND sent_at = %(sent_at)s
   AND (outcome = 'open' OR outcome <> 'done' AND %(outcome)s IN ('done', 'unknown')
        OR outcome = 'unknown' AND %(resolution)s::text = 'replayed_key')
"""

#: Not of an open attempt whose call may still be running.
_UNRESOLVED = b"(outcome = 'unknown' OR outcome = 'open' AND open_until < clock_timestamp())"

_RESOLVE = (
    b"""
UPDATE attempt SET outcome = %(outcome)s, resolution = %(resolution)s, known_at = clock_timestamp()
 WHERE attempt_id = %(attempt_id)s AND """
    + _UNRESOLVED
    + b" RETURNING "
    + _COLUMNS
)

_FIND = b"SELECT " + _COLUMNS + b" FROM attempt WHERE integration = %(integration)s AND key = %(key)s"

_GET = b"SELECT " + _COLUMNS + b" FROM attempt WHERE attempt_id = %(attempt_id)s"

#: The first condition is that of the partial index.
_FIND_UNRESOLVED = (
    b"SELECT "
    + _COLUMNS
    + b" FROM attempt WHERE outcome IN ('open', 'unknown') AND "
    + _UNRESOLVED
    + b""" AND (%(integration)s::text IS NULL OR integration = %(integration)s) AND attempt_id > %(after)s
 ORDER BY attempt_id LIMIT %(limit)s"""
)

_FIND_ALL = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM attempt
 WHERE (%(integration)s::text IS NULL OR integration = %(integration)s) AND attempt_id > %(after)s
 ORDER BY attempt_id LIMIT %(limit)s"""
)


def begin(work: Work, write: Write, *, longest: timedelta) -> tuple[Attempt, bool]:
    """
    Open the attempt of *write*; return it, and whether it is new: false if an earlier request may have had the effect.

    An attempt without effect (refused, failed) is opened again, and counts as new.

    Args:
        work: Commit it before the request is sent.
        write: The call.
        longest: How long the call can take at most.

    Raises:
        KeyReused: the key belongs to another request.

    """
    values = {
        "integration": write.integration,
        "action": write.action,
        "key": write.key,
        "request_digest": write.digest,
        "longest": longest,
    }
    if added := _attempts(work).execute(_ADD, values).fetchone():
        return added, True
    found = _the(_attempts(work).execute(_LOCK, values))
    if found.request_digest != write.digest:
        raise KeyReused(found)
    if found.outcome in (Outcome.REFUSED, Outcome.FAILED):
        return _the(_attempts(work).execute(_REOPEN, {"attempt_id": found.attempt_id, "longest": longest})), True
    return found, False


def end(work: Work, attempt: Attempt, outcome: Outcome, resolution: Resolution | None = None) -> None:
    """Record the outcome of a call, unless that of another call with the key outweighs it."""
    values = {
        "attempt_id": attempt.attempt_id,
        "sent_at": attempt.sent_at,
        "outcome": outcome,
        "resolution": resolution,
    }
    work.execute(_END, values)


def unresolved(work: Work, *, integration: str | None = None, after: int = 0, limit: int = 100) -> list[Attempt]:
    """List the attempts that nobody knows the outcome of, oldest first: at most *limit* after an ID."""
    values = {"integration": integration, "after": after, "limit": limit}
    return _attempts(work).execute(_FIND_UNRESOLVED, values).fetchall()


def find_all(work: Work, *, integration: str | None = None, after: int = 0, limit: int = 100) -> list[Attempt]:
    """List the attempts with any outcome, oldest first: at most *limit* after an ID."""
    values = {"integration": integration, "after": after, "limit": limit}
    return _attempts(work).execute(_FIND_ALL, values).fetchall()


def get(work: Work, attempt_id: int) -> Attempt:
    """
    Read the attempt.

    Raises:
        NotFound: no attempt has that ID.

    """
    found = _attempts(work).execute(_GET, {"attempt_id": attempt_id}).fetchone()
    if found is None:
        raise NotFound(f"There is no attempt {attempt_id}", hint=Hint(HintId.LIST_ATTEMPTS))
    return found


def find(work: Work, integration: str, key: str) -> Attempt | None:
    """Find the attempt with *key*; None if there is none."""
    return _attempts(work).execute(_FIND, {"integration": integration, "key": key}).fetchone()


def resolve(
    work: Work,
    attempt_id: int,
    outcome: Literal[Outcome.DONE, Outcome.REFUSED, Outcome.FAILED],
    resolution: Resolution,
) -> Attempt:
    """
    Record what became of an attempt whose outcome was unknown: done, refused or failed, and how that was found out.

    Raises:
        NotFound: no attempt has that ID.
        Conflict: its outcome is known already, or its call may still be running.

    """
    values = {"attempt_id": attempt_id, "outcome": outcome, "resolution": resolution}
    found = _attempts(work).execute(_RESOLVE, values).fetchone()
    if found is None:
        raise Conflict(f"The outcome of attempt {attempt_id} is {get(work, attempt_id).outcome}, not unknown")
    return found


def _attempts(work: Work) -> psycopg.Cursor[Attempt]:
    """Open a cursor whose rows are attempts: each column is the field of its name."""
    return work.cursor(row_factory=kwargs_row(_attempt))


def _attempt(**fields: Any) -> Attempt:
    return msgspec.convert(fields, Attempt)


def _the(rows: psycopg.Cursor[Attempt]) -> Attempt:
    found = rows.fetchone()
    assert found is not None  # noqa: S101  a row that is there: it was inserted, or a conflict found it
    return found
