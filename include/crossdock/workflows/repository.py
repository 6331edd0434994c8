"""SQL of executions and their steps."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
import psycopg
from psycopg.rows import kwargs_row
from psycopg.types.json import Jsonb

from crossdock.core.decoding import prepare
from crossdock.core.errors import NotFound
from crossdock.db.database import Work
from crossdock.integrations.actions.model import Document
from crossdock.workflows.model import Direction, Driver, Execution, StepProgress, StepReplaced, StepState

# The delivery's and the API server's threads read them.
prepare(Execution, StepProgress)

T = TypeVar("T")

_EXECUTION = b"""execution_id, flow, subject, driver, state, input, cancelled_because, reason, waits_for, deadline_at, next_at,
       created_at, created_by, ended_at"""

_STEP = b"step, direction, state, key, tries, tries_left_from, output, message, next_at, began_at, ended_at, log"

#: Of two callers for one subject, the second finds the execution of the first. The keys of its steps are made from the ID,
#: and the ID from what no restore of a backup changes.
_ADD = (
    b"""
INSERT INTO execution (execution_id, flow, subject, driver, input, deadline_at, next_at, created_by)
SELECT 'exe_' || left(encode(sha256(convert_to(concat_ws(E'\\n', installation_id, %(flow)s::text, %(subject)s::text),
                                               'UTF8')), 'hex'), 32),
       %(flow)s, %(subject)s, %(driver)s, %(input)s, clock_timestamp() + %(timeout)s, clock_timestamp() + %(first)s,
       %(actor)s
  FROM installation
ON CONFLICT (flow, subject) DO NOTHING
RETURNING """
    + _EXECUTION
)

_GET = b"SELECT " + _EXECUTION + b" FROM execution WHERE execution_id = %(execution_id)s"
_LOCK = _GET + b" FOR UPDATE"
_OF_SUBJECT = b"SELECT " + _EXECUTION + b" FROM execution WHERE subject = %(subject)s ORDER BY created_at"

#: Whoever looks at the same time takes others. The time moves on, so that a process that is killed with them leaves them to
#: the next one soon.
_TAKE_DUE = b"""
UPDATE execution SET next_at = clock_timestamp() + %(grace)s
 WHERE execution_id IN (SELECT execution_id FROM execution
                         WHERE next_at <= clock_timestamp() AND driver = ANY(%(drivers)s)
                         ORDER BY next_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING execution_id
"""

_STEPS = b"SELECT " + _STEP + b" FROM execution_step WHERE execution_id = %(execution_id)s ORDER BY began_at"

_NOW = b"SELECT clock_timestamp()"

#: An outcome that is unknown stays so while the call is repeated: only the repetition's end may change that.
_BEGIN = (
    b"""
INSERT INTO execution_step AS known (execution_id, step, direction, state, key, tries, next_at)
VALUES (%(execution_id)s, %(step)s, %(direction)s, 'open', %(key)s, 1, clock_timestamp() + %(timeout)s)
ON CONFLICT (execution_id, step, direction) DO UPDATE
   SET state = 'open', tries = known.tries + 1, next_at = excluded.next_at, called_at = clock_timestamp(), ended_at = NULL
RETURNING """
    + _STEP
)

#: Only the last try writes its end: an earlier one whose process slept has been replaced.
_END = (
    b"""
UPDATE execution_step
   SET state = %(state)s, output = %(output)s, message = %(message)s, next_at = clock_timestamp() + %(wait)s,
       ended_at = clock_timestamp(),
       log = log || jsonb_build_object('number', tries, 'began_at', called_at, 'ended_at', clock_timestamp(),
                                       'state', %(state)s::text, 'message', %(message)s::text)
 WHERE execution_id = %(execution_id)s AND step = %(step)s AND direction = %(direction)s AND tries = %(tries)s
   AND state = 'open'
RETURNING """
    + _STEP
)

#: FOR SHARE: until the transaction ends that opens an attempt. Whoever takes the step over later finds the attempt.
_IS_LAST = b"""
SELECT FROM execution_step
 WHERE execution_id = %(execution_id)s AND step = %(step)s AND direction = %(direction)s AND tries = %(tries)s
   AND state = 'open' FOR SHARE
"""

#: A process that slept in the call of an act must not send it after its undo.
_REPLACE = b"""
UPDATE execution_step SET state = 'unknown', message = 'its process ended', tries = tries + 1
 WHERE execution_id = %(execution_id)s AND step = %(step)s AND direction = 'act' AND state = 'open'
"""

_SKIP_UNDO = b"""
INSERT INTO execution_step (execution_id, step, direction, state, key, tries, ended_at)
VALUES (%(execution_id)s, %(step)s, %(direction)s, 'nothing', %(key)s, 0, clock_timestamp())
"""

_RESOLVE = b"""
UPDATE execution_step
   SET state = %(state)s, output = coalesce(%(output)s, output), message = %(message)s, next_at = NULL,
       ended_at = clock_timestamp(), tries = tries + 1,
       log = log || jsonb_build_object('number', tries + 1, 'began_at', clock_timestamp(), 'ended_at', clock_timestamp(),
                                       'state', %(state)s::text, 'message', %(message)s::text)
 WHERE execution_id = %(execution_id)s AND step = %(step)s AND direction = %(direction)s
"""

#: What was refused had no effect, and is tried as after a failure.
_ALLOW_TRIES = b"""
UPDATE execution_step
   SET tries_left_from = tries, next_at = NULL, state = CASE state WHEN 'refused' THEN 'failed' ELSE state END
 WHERE execution_id = %(execution_id)s AND step = %(step)s AND direction = %(direction)s
"""

_SET = b"""
UPDATE execution
   SET state = %(state)s, cancelled_because = %(cancelled_because)s, reason = %(reason)s, waits_for = %(waits_for)s,
       next_at = %(next_at)s,
       ended_at = CASE WHEN %(state)s IN ('completed', 'undone') THEN coalesce(ended_at, clock_timestamp()) END
 WHERE execution_id = %(execution_id)s
"""

_WAKE = b"""
UPDATE execution SET next_at = clock_timestamp()
 WHERE flow = %(flow)s AND subject = ANY(%(subjects)s) AND next_at > clock_timestamp()
"""

_WAITING = (
    b"SELECT "
    + _EXECUTION
    + b" FROM execution WHERE waits_for IS NOT NULL AND execution_id > %(after)s ORDER BY execution_id LIMIT %(limit)s"
)


def add(
    work: Work,
    flow: str,
    subject: str,
    given: Document,
    *,
    driver: Driver,
    timeout: timedelta,
    first: timedelta,
    actor: str,
) -> tuple[Execution, bool]:
    """
    Add an execution of *flow* for *subject*; return it, and whether it is new.

    Args:
        work: The caller's transaction.
        flow: The flow's name.
        subject: What it is about.
        given: The input of its steps.
        driver: The way in which it is driven.
        timeout: How long it may take up to the pivot.
        first: After that time, somebody takes it up who is not woken by an event.
        actor: Who asked for it.

    """
    values = {
        "flow": flow,
        "subject": subject,
        "driver": driver,
        "input": Jsonb(given),
        "timeout": timeout,
        "first": first,
        "actor": actor,
    }
    if added := _executions(work).execute(_ADD, values).fetchone():
        return added, True
    found = next(found for found in of_subject(work, subject) if found.flow == flow)
    return found, False


def get(work: Work, execution_id: str) -> Execution:
    """
    Read an execution.

    Raises:
        NotFound: there is none with that ID.

    """
    return _the(_executions(work).execute(_GET, {"execution_id": execution_id}), execution_id)


def lock(work: Work, execution_id: str) -> Execution:
    """
    Read an execution and lock it until the transaction ends: one process at a time moves it.

    Raises:
        NotFound: there is none with that ID.

    """
    return _the(_executions(work).execute(_LOCK, {"execution_id": execution_id}, prepare=True), execution_id)


def of_subject(work: Work, subject: str) -> list[Execution]:
    """List the executions for *subject*, oldest first."""
    return _executions(work).execute(_OF_SUBJECT, {"subject": subject}).fetchall()


def take_due(work: Work, drivers: Collection[Driver], *, limit: int, grace: timedelta) -> list[str]:
    """Take up to *limit* executions that have something to do; until *grace* has passed, nobody else takes them."""
    values = {"drivers": list(drivers), "limit": limit, "grace": grace}
    return [row[0] for row in work.execute(_TAKE_DUE, values)]


def waiting(work: Work, *, after: str = "", limit: int = 100) -> list[Execution]:
    """List executions that wait for a person: at most *limit* after an ID."""
    return _executions(work).execute(_WAITING, {"after": after, "limit": limit}).fetchall()


def wake(work: Work, flow: str, subjects: Collection[str]) -> None:
    """Have what waits for its next time taken up now."""
    work.execute(_WAKE, {"flow": flow, "subjects": list(subjects)})


def now(work: Work) -> datetime:
    """Read the database's clock, by which all times of executions are set."""
    row = work.execute(_NOW).fetchone()
    assert row is not None  # noqa: S101  a SELECT without a table has one row
    found: datetime = row[0]
    return found


def steps_of(work: Work, execution_id: str) -> list[StepProgress]:
    """Read how far each step is, in the order in which they began."""
    return _steps(work).execute(_STEPS, {"execution_id": execution_id}, prepare=True).fetchall()


def begin(
    work: Work, execution: Execution, step: str, direction: Direction, key: str, *, timeout: timedelta
) -> StepProgress:
    """Open a try of a step. Commit it before its call."""
    values = {**_place(execution, step, direction), "key": key, "timeout": timeout}
    return _the(_steps(work).execute(_BEGIN, values, prepare=True), step)


def end(
    work: Work,
    execution: Execution,
    tried: StepProgress,
    state: StepState,
    *,
    output: Document | None,
    message: str | None,
    wait_s: float | None,
) -> StepProgress | None:
    """
    Record how a try ended; None if another process has tried the step since, and this end is of no account.

    Args:
        work: The caller's transaction.
        execution: The execution, locked.
        tried: The try, as `begin` returned it.
        state: Its end.
        output: What the step put out.
        message: Why it did not succeed.
        wait_s: After how many seconds it may be tried again; None if it need not be.

    """
    values = {
        **_place(execution, tried.step, tried.direction),
        "state": state,
        "output": Jsonb(output) if output is not None else None,
        "message": message,
        "wait": timedelta(seconds=wait_s) if wait_s is not None else None,
        "tries": tried.tries,
    }
    return _steps(work).execute(_END, values, prepare=True).fetchone()


def refuse_replaced(work: Work, execution_id: str, tried: StepProgress) -> None:
    """
    Make sure that *tried* is the last try of its step and has not ended, until the transaction ends.

    Raises:
        StepReplaced: it is not.

    """
    values = {
        "execution_id": execution_id,
        "step": tried.step,
        "direction": tried.direction,
        "tries": tried.tries,
    }
    if work.execute(_IS_LAST, values).fetchone() is None:
        raise StepReplaced(tried.step)


def replace_open(work: Work, execution: Execution, step: str) -> None:
    """Have the process that may be in the call of an act send nothing more."""
    work.execute(_REPLACE, {"execution_id": execution.execution_id, "step": step})


def skip_undo(work: Work, execution: Execution, step: str, key: str) -> None:
    """Record that there is nothing to undo of a step."""
    work.execute(_SKIP_UNDO, {**_place(execution, step, Direction.UNDO), "key": key})


def resolve(
    work: Work,
    execution: Execution,
    step: str,
    direction: Direction,
    state: StepState,
    *,
    output: Document | None,
    message: str,
) -> None:
    """Record what a person found out about a step."""
    values = {
        **_place(execution, step, direction),
        "state": state,
        "output": Jsonb(output) if output is not None else None,
        "message": message,
    }
    work.execute(_RESOLVE, values)


def allow_tries(work: Work, execution: Execution, step: str, direction: Direction) -> None:
    """Count the tries of a step anew, and let it be tried at once."""
    work.execute(_ALLOW_TRIES, _place(execution, step, direction))


def save(work: Work, execution: Execution, **changes: Any) -> Execution:
    """Write the *changes* of an execution that is locked, and return it with them."""
    changed = msgspec.structs.replace(execution, **changes)
    names = ("execution_id", "state", "cancelled_because", "reason", "waits_for", "next_at")
    work.execute(_SET, {name: getattr(changed, name) for name in names}, prepare=True)
    return changed


def _place(execution: Execution, step: str, direction: Direction) -> dict[str, Any]:
    return {"execution_id": execution.execution_id, "step": step, "direction": direction}


def _executions(work: Work) -> psycopg.Cursor[Execution]:
    return work.cursor(row_factory=kwargs_row(_execution))


def _execution(**fields: Any) -> Execution:
    return msgspec.convert(fields, Execution)


def _steps(work: Work) -> psycopg.Cursor[StepProgress]:
    return work.cursor(row_factory=kwargs_row(_step))


def _step(**fields: Any) -> StepProgress:
    return msgspec.convert(fields, StepProgress)


def _the(rows: psycopg.Cursor[T], name: str) -> T:
    found = rows.fetchone()
    if found is None:
        raise NotFound(f"There is no execution {name!r}")
    return found
