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
from crossdock.core.roles import Role
from crossdock.db.database import Work
from crossdock.integrations.attempts.model import Attempt, KeyReused, Outcome, Resolution, Write
from crossdock.observability import decisions
from crossdock.observability.decisions import DecisionKind

prepare(Attempt)

#: A process that was killed leaves an open row. It reads as unknown from the moment at which its call would have ended.
_COLUMNS = b"""attempt_id, integration, action, key, request_digest, sent_at, known_at, resolution, asks_person,
       clock_timestamp() - sent_at AS age,
       CASE WHEN outcome = 'open' AND open_until < clock_timestamp() THEN 'unknown' ELSE outcome END AS outcome"""

_ADD = (
    b"""
INSERT INTO attempt (integration, action, key, request_digest, open_until, asks_person)
VALUES (%(integration)s, %(action)s, %(key)s, %(request_digest)s, clock_timestamp() + %(longest)s, %(asks_person)s)
ON CONFLICT (integration, key) DO NOTHING
RETURNING """
    + _COLUMNS
)

#: FOR UPDATE: of two callers that find an attempt without effect, one sends, and the other finds it open.
_LOCK = b"SELECT " + _COLUMNS + b" FROM attempt WHERE integration = %(integration)s AND key = %(key)s FOR UPDATE"

_LOCK_ID = b"SELECT FROM attempt WHERE attempt_id = %(attempt_id)s FOR UPDATE"

_REOPEN = (
    b"""
UPDATE attempt SET sent_at = clock_timestamp(), open_until = clock_timestamp() + %(longest)s, outcome = 'open',
       known_at = NULL, resolution = NULL, asks_person = %(asks_person)s
 WHERE attempt_id = %(attempt_id)s
RETURNING """
    + _COLUMNS
)

#: Two calls with one key may end in any order: done outweighs unknown, which outweighs a refusal of either, unless the
#: system repeated its decision about the key, or shows that the request can have no effect any more. sent_at is there for a process that slept until its attempt was resolved and reopened: its outcome is not that of the newer request.
_END = (
    b"""
UPDATE attempt
   SET outcome = %(outcome)s, resolution = %(resolution)s,
       known_at = CASE WHEN %(outcome)s <> 'unknown' THEN clock_timestamp() END
 WHERE attempt_id = %(attempt_id)s AND sent_at = %(sent_at)s
   AND (outcome = 'open' OR outcome <> 'done' AND %(outcome)s IN ('done', 'unknown')
        OR outcome = 'unknown' AND %(resolution)s::text IN ('replayed_key', 'get'))
RETURNING """
    + _COLUMNS
)

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

_UNKNOWN_WITH = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM attempt
 WHERE integration = %(integration)s AND starts_with(key, %(prefix)s) AND outcome IN ('open', 'unknown')
 ORDER BY attempt_id"""
)

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


def begin(work: Work, write: Write, *, longest: timedelta, asks_person: bool = False) -> tuple[Attempt, bool]:
    """
    Open the attempt of *write*; return it, and whether it is new: false if an earlier request may have had the effect.

    An attempt without effect (refused, failed) is opened again, and counts as new.

    Args:
        work: Commit it before the request is sent.
        write: The call.
        longest: How long the call can take at most.
        asks_person: Whether a person is asked if nobody else finds out what became of it.

    Raises:
        KeyReused: the key belongs to another request.

    """
    values = {
        "integration": write.integration,
        "action": write.action,
        "key": write.key,
        "request_digest": write.digest,
        "longest": longest,
        "asks_person": asks_person,
    }
    if added := _attempts(work).execute(_ADD, values).fetchone():
        _ask(work, added, opens_in=longest)
        return added, True
    found = _the(_attempts(work).execute(_LOCK, values))
    if found.request_digest != write.digest:
        raise KeyReused(found)
    if found.outcome in (Outcome.REFUSED, Outcome.FAILED):
        again = _the(_attempts(work).execute(_REOPEN, {**values, "attempt_id": found.attempt_id}))
        _ask(work, again, opens_in=longest)
        return again, True
    return found, False


def end(work: Work, attempt: Attempt, outcome: Outcome, resolution: Resolution | None = None) -> None:
    """
    Record the outcome of a call, unless that of another call with the key outweighs it.

    A person is asked about one that is unknown, and no more once it is known.
    """
    values = {
        "attempt_id": attempt.attempt_id,
        "sent_at": attempt.sent_at,
        "outcome": outcome,
        "resolution": resolution,
    }
    changed = _attempts(work).execute(_END, values).fetchone()
    if changed is None:
        return
    if changed.outcome is Outcome.UNKNOWN:
        _ask(work, changed)
    else:
        _withdraw(work, changed)


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
        raise _none(attempt_id)
    return found


def lock(work: Work, attempt_id: int) -> None:
    """
    Have nobody else change an attempt until the transaction ends.

    Raises:
        NotFound: no attempt has that ID.

    """
    if work.execute(_LOCK_ID, {"attempt_id": attempt_id}).fetchone() is None:
        raise _none(attempt_id)


def find(work: Work, integration: str, key: str) -> Attempt | None:
    """Find the attempt with *key*; None if there is none."""
    return _attempts(work).execute(_FIND, {"integration": integration, "key": key}).fetchone()


def unknown_with(work: Work, integration: str, prefix: str) -> list[Attempt]:
    """List the attempts whose keys begin with *prefix* and whose outcome is not known yet, oldest first."""
    return _attempts(work).execute(_UNKNOWN_WITH, {"integration": integration, "prefix": prefix}).fetchall()


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
    if resolution is not Resolution.PERSON:
        _withdraw(work, found)
    return found


def _ask(work: Work, attempt: Attempt, *, opens_in: timedelta = timedelta(0)) -> None:
    """Ask what became of an attempt, once its call must be over: a process that is killed asks nobody."""
    if attempt.asks_person:
        decisions.ask(
            work,
            DecisionKind.ATTEMPT,
            str(attempt.attempt_id),
            about=f"{attempt.integration}/{attempt.key}",
            question=f"Nobody knows what became of {attempt.action} at {attempt.integration}. Look it up there: was it done?",
            choices=(Outcome.DONE, Outcome.REFUSED, Outcome.FAILED),
            role=Role.OPERATOR,
            opens_in=opens_in,
        )


def _withdraw(work: Work, attempt: Attempt) -> None:
    if attempt.asks_person:
        decisions.withdraw(work, DecisionKind.ATTEMPT, str(attempt.attempt_id))


def _none(attempt_id: int) -> NotFound:
    return NotFound(f"There is no attempt {attempt_id}", hint=Hint(HintId.LIST_ATTEMPTS))


def _attempts(work: Work) -> psycopg.Cursor[Attempt]:
    """Open a cursor whose rows are attempts: each column is the field of its name."""
    return work.cursor(row_factory=kwargs_row(_attempt))


def _attempt(**fields: Any) -> Attempt:
    return msgspec.convert(fields, Attempt)


def _the(rows: psycopg.Cursor[Attempt]) -> Attempt:
    found = rows.fetchone()
    assert found is not None  # noqa: S101  a row that is there: it was inserted, or a conflict found it
    return found
