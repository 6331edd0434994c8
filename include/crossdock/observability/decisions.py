"""Decisions of people: what waits for one is a row, with its question and its choices, and is decided once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
import psycopg
from psycopg.rows import kwargs_row
from psycopg.types.json import Json

from crossdock.core.decoding import prepare
from crossdock.core.errors import Conflict, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.core.roles import Role
from crossdock.db.database import Work


class DecisionKind(StrEnum):
    """What waits for a person. Whoever asks carries out what was decided: `app.decisions` knows them."""

    #: A step of an execution, or its undo: nobody knows what became of it, or it does not succeed.
    STEP = "step"
    #: A call that wrote, or may have: nobody knows what became of it, and no step waits for it.
    ATTEMPT = "attempt"
    #: A gateway's call for a payment that no step waits for: nobody knows what became of it.
    PAYMENT = "payment"
    #: A question that a declared workflow asks.
    WORKFLOW = "workflow"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A question to a person. Why they decided so, in their own words, is in the audit trail alone."""

    decision_id: int
    kind: DecisionKind
    #: What waits: the ID of an execution, of an attempt or of a payment's call. It waits for one decision at a time.
    subject: str
    #: What a person knows it by: the ID of an order or a payment; of an attempt, the integration and the key.
    about: str
    question: str
    #: Name → value: what somebody has to know to decide. It may be about a person.
    shows: dict[str, Any]
    choices: tuple[str, ...]
    #: Who may decide.
    role: Role
    opened_at: datetime
    #: None while it is open.
    choice: str | None
    decided_by: str | None
    decided_at: datetime | None


class AlreadyDecided(Conflict):
    """Somebody has decided before."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(
            f"Decision {decision.decision_id} was made by {decision.decided_by} at {decision.decided_at:%Y-%m-%d %H:%M:%S} UTC: "
            f"{decision.choice}"
        )


prepare(Decision)

_COLUMNS = (
    b"decision_id, kind, subject, about, question, shows, choices, role, opened_at, choice, decided_by, decided_at"
)

#: A newer question replaces the one that is open. One that is asked for later opens at the earlier of both times.
_ASK = b"""
INSERT INTO decision (kind, subject, about, question, shows, choices, role, opened_at)
VALUES (%(kind)s, %(subject)s, %(about)s, %(question)s, %(shows)s, %(choices)s, %(role)s, clock_timestamp() + %(opens_in)s)
ON CONFLICT (kind, subject) WHERE decided_at IS NULL
DO UPDATE SET question = excluded.question, shows = excluded.shows, choices = excluded.choices, role = excluded.role,
              opened_at = least(decision.opened_at, excluded.opened_at)
"""

_WITHDRAW = b"DELETE FROM decision WHERE kind = %(kind)s AND subject = %(subject)s AND decided_at IS NULL"

_RECORD = b"""
UPDATE decision SET choice = %(choice)s, decided_by = %(actor)s, decided_at = clock_timestamp()
 WHERE kind = %(kind)s AND subject = %(subject)s AND decided_at IS NULL
"""

_NOT_OFFERED = b"""
SELECT choices FROM decision
 WHERE kind = %(kind)s AND subject = %(subject)s AND decided_at IS NULL AND %(choice)s <> ALL (choices)
"""

#: Before it opens, nobody is asked yet.
_GET = b"SELECT " + _COLUMNS + b" FROM decision WHERE decision_id = %(decision_id)s AND opened_at <= clock_timestamp()"

_LAST = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM decision WHERE about = %(about)s AND kind = %(kind)s AND subject = %(subject)s
 ORDER BY decision_id DESC LIMIT 1"""
)

_FIND = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM decision
 WHERE {of_state}
   AND (%(about)s::text IS NULL OR about = %(about)s) AND (%(roles)s::text[] IS NULL OR role = ANY(%(roles)s))
   AND decision_id > %(after)s AND opened_at <= clock_timestamp()
 ORDER BY decision_id LIMIT %(limit)s"""
)

#: Each a statement of its own: with a parameter, the index of the few that are open would not be used.
_FIND_BY_STATE = {
    None: _FIND.replace(b"{of_state}", b"true"),
    True: _FIND.replace(b"{of_state}", b"decided_at IS NULL"),
    False: _FIND.replace(b"{of_state}", b"decided_at IS NOT NULL"),
}


def ask(
    work: Work,
    kind: DecisionKind,
    subject: str,
    *,
    about: str,
    question: str,
    choices: Sequence[str],
    role: Role,
    shows: Mapping[str, Any] | None = None,
    opens_in: timedelta = timedelta(0),
) -> None:
    """
    Ask a person, in the transaction that has *subject* wait for the answer.

    With *opens_in* the question is there then, unless it is withdrawn before: for a process that may be killed meanwhile.
    """
    values = {"kind": kind, "subject": subject, "about": about, "question": question, "opens_in": opens_in}
    work.execute(_ASK, {**values, "shows": Json(dict(shows or {})), "choices": list(choices), "role": role})


def withdraw(work: Work, kind: DecisionKind, subject: str) -> None:
    """Take back an open question, in the transaction after which nothing waits for its answer."""
    work.execute(_WITHDRAW, {"kind": kind, "subject": subject})


def record(work: Work, kind: DecisionKind, subject: str, choice: str, *, actor: str) -> None:
    """
    Record what was decided about *subject*, in the transaction that carries it out; nothing if nobody was asked.

    Raises:
        Conflict: that is none of the choices.

    """
    values = {"kind": kind, "subject": subject, "choice": choice, "actor": actor}
    if not_offered := work.execute(_NOT_OFFERED, values).fetchone():
        raise Conflict(f"It can be decided as {', '.join(not_offered[0])}, not as {choice}")
    work.execute(_RECORD, values)


def get(work: Work, decision_id: int) -> Decision:
    """
    Read a decision.

    Raises:
        NotFound: there is none with that ID.

    """
    found = _decisions(work).execute(_GET, {"decision_id": decision_id}).fetchone()
    if found is None:
        raise NotFound(
            f"There is no decision {decision_id}: nobody asked, or what asked needs no answer any more",
            hint=Hint(HintId.LIST_DECISIONS),
        )
    return found


def last(work: Work, kind: DecisionKind, subject: str, *, about: str) -> Decision | None:
    """Read the last question about *subject*, open or decided; None if nobody was asked."""
    return _decisions(work).execute(_LAST, {"kind": kind, "subject": subject, "about": about}).fetchone()


def refuse_decided(work: Work, decision_id: int) -> None:
    """
    Make sure that a decision is open. The caller has locked what it is about.

    Raises:
        AlreadyDecided: it is not.

    """
    decision = get(work, decision_id)
    if decision.decided_at is not None:
        raise AlreadyDecided(decision)


def find(
    work: Work,
    *,
    is_open: bool | None = True,
    about: str | None = None,
    roles: Sequence[Role] | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[Decision]:
    """List decisions, oldest first: at most *limit* after an ID; with *roles*, those that one of them may make."""
    values = {"about": about, "roles": list(roles) if roles is not None else None, "after": after, "limit": limit}
    return _decisions(work).execute(_FIND_BY_STATE[is_open], values).fetchall()


def _decisions(work: Work) -> psycopg.Cursor[Decision]:
    return work.cursor(row_factory=kwargs_row(_decision))


def _decision(**fields: Any) -> Decision:
    return msgspec.convert(fields, Decision)
