"""SQL of executions and their steps."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import msgspec
import psycopg
from psycopg.rows import kwargs_row
from psycopg.types.json import Jsonb

from crossdock.core.decoding import prepare
from crossdock.core.errors import NotFound
from crossdock.db.database import Work
from crossdock.integrations.actions.model import Document
from crossdock.workflows.model import (
    Direction,
    Driver,
    Execution,
    StepEnd,
    StepProgress,
    StepReplaced,
    StepState,
    progress_of,
)

# The delivery's and the API server's threads read them.
prepare(Execution, StepProgress)

T = TypeVar("T")

_EXECUTION = b"""execution_id, flow, subject, driver, state, input, cancelled_by, reason, waits_for, deadline_at, next_at,
       created_at, created_by, ended_at, clock_timestamp() AS read_at"""

_PROGRESS = b"step, direction, state, key, tries, tries_left_from, output, message, error, next_at, began_at, ended_at"
_STEP = _PROGRESS + b", log"

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
_OF_SUBJECTS = b"SELECT " + _EXECUTION + b" FROM execution WHERE subject = ANY(%(subjects)s) ORDER BY created_at"

#: Whoever looks at the same time takes others. The time moves on, so that a process that is killed with them leaves them to
#: the next one soon.
_TAKE_DUE = (
    b"""
UPDATE execution SET next_at = clock_timestamp() + %(grace)s
 WHERE execution_id IN (SELECT execution_id FROM execution
                         WHERE next_at <= clock_timestamp() AND driver = %(driver)s
                         ORDER BY next_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING """
    + _EXECUTION
)

_ADD_RUN = b"""
INSERT INTO execution_run (execution_id, run_id) SELECT unnest(%(execution_ids)s::text[]), %(run_id)s ON CONFLICT DO NOTHING
"""

_RUNS = b"SELECT run_id FROM execution_run WHERE execution_id = %(execution_id)s ORDER BY taken_at"

#: Whoever drove it does not come any more: from here on it is driven otherwise, and is due at once.
_HAND_OVER = b"""
UPDATE execution SET driver = %(to)s, next_at = clock_timestamp()
 WHERE execution_id IN (SELECT execution_id FROM execution
                         WHERE next_at <= clock_timestamp() - %(overdue)s AND driver = %(driver)s
                         ORDER BY next_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING execution_id
"""

#: What a step waits for keeps its time.
_RELEASE = b"""
UPDATE execution SET next_at = clock_timestamp()
 WHERE execution_id = ANY(%(execution_ids)s) AND driver = %(driver)s AND next_at > clock_timestamp()
   AND NOT EXISTS (SELECT FROM execution_step
                    WHERE execution_step.execution_id = execution.execution_id
                      AND execution_step.next_at > clock_timestamp() AND execution_step.state IN ('open', 'failed', 'unknown', 'waiting'))
"""

_STEPS = b"SELECT " + _STEP + b" FROM execution_step WHERE execution_id = %(execution_id)s ORDER BY began_at"

#: Without the log of the tries: each move of an execution reads all of its steps.
_HOW_FAR = b"SELECT " + _PROGRESS + b" FROM execution_step WHERE execution_id = %(execution_id)s"

_STEPS_NAMED = (
    b"SELECT "
    + _STEP
    + b""" FROM execution_step
 WHERE execution_id = ANY(%(execution_ids)s) AND step = %(step)s AND direction = %(direction)s ORDER BY began_at"""
)

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
   SET state = %(state)s, output = %(output)s, message = %(message)s, error = %(error)s,
       tries_left_from = tries_left_from + CASE WHEN %(counts)s THEN 0 ELSE 1 END,
       next_at = clock_timestamp() + %(wait)s, ended_at = clock_timestamp(),
       log = log || jsonb_build_object('number', tries, 'began_at', called_at, 'ended_at', clock_timestamp(),
                                       'state', %(state)s::text, 'message', %(message)s::text)
 WHERE execution_id = %(execution_id)s AND step = %(step)s AND direction = %(direction)s AND tries = %(tries)s
   AND state = 'open'
RETURNING """
    + _STEP
)

#: A try in the hub's database, from its beginning to its end: nobody has seen it open.
_MADE = (
    b"""
INSERT INTO execution_step AS known (execution_id, step, direction, state, key, tries, output, message, error, next_at,
                                     began_at, called_at, ended_at, log)
SELECT %(execution_id)s, %(step)s, %(direction)s, %(state)s, %(key)s, %(tries)s, %(output)s, %(message)s, %(error)s,
       now_at + %(wait)s, now_at - %(took)s, now_at - %(took)s, now_at,
       jsonb_build_array(jsonb_build_object('number', %(tries)s::int, 'began_at', now_at - %(took)s, 'ended_at', now_at,
                                            'state', %(state)s::text, 'message', %(message)s::text))
  FROM clock_timestamp() AS now_at
ON CONFLICT (execution_id, step, direction) DO UPDATE
   SET state = excluded.state, tries = excluded.tries, output = excluded.output, message = excluded.message,
       error = excluded.error, next_at = excluded.next_at, called_at = excluded.called_at, ended_at = excluded.ended_at,
       log = known.log || excluded.log
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
UPDATE execution_step SET state = 'unknown', message = 'its process ended', error = NULL, tries = tries + 1
 WHERE execution_id = %(execution_id)s AND step = %(step)s AND direction = 'act' AND state = 'open'
"""

_SKIP_UNDO = b"""
INSERT INTO execution_step (execution_id, step, direction, state, key, tries, ended_at)
VALUES (%(execution_id)s, %(step)s, %(direction)s, 'nothing', %(key)s, 0, clock_timestamp())
"""

_RESOLVE = b"""
UPDATE execution_step
   SET state = %(state)s, output = coalesce(%(output)s, output), message = %(message)s, error = NULL, next_at = NULL,
       ended_at = clock_timestamp(), tries = tries + 1,
       log = log || jsonb_build_object('number', tries + 1, 'began_at', clock_timestamp(), 'ended_at', clock_timestamp(),
                                       'state', %(state)s::text, 'message', %(message)s::text)
 WHERE execution_id = %(execution_id)s AND step = %(step)s AND direction = %(direction)s
"""

#: What was refused had no effect, and is tried as after a failure. Its time counts anew, too: it may have been over.
_ALLOW_TRIES = b"""
UPDATE execution_step
   SET tries_left_from = tries, error = NULL, next_at = NULL, began_at = clock_timestamp(), state = CASE state WHEN 'refused' THEN 'failed' ELSE state END
 WHERE execution_id = %(execution_id)s AND step = %(step)s AND direction = %(direction)s
"""

_SET = b"""
UPDATE execution
   SET state = %(state)s, cancelled_by = %(cancelled_by)s, reason = %(reason)s, waits_for = %(waits_for)s,
       next_at = %(next_at)s,
       ended_at = CASE WHEN %(state)s IN ('completed', 'undone') THEN coalesce(ended_at, clock_timestamp()) END
 WHERE execution_id = %(execution_id)s
"""

#: What is known to have failed keeps its wait: an event says nothing of it.
_WAKE = b"""
WITH woken AS (
    UPDATE execution SET next_at = clock_timestamp()
     WHERE flow = ANY(%(flows)s) AND subject = ANY(%(subjects)s) AND next_at > clock_timestamp()
    RETURNING execution_id)
UPDATE execution_step SET next_at = clock_timestamp()
 WHERE execution_id IN (SELECT execution_id FROM woken) AND state IN ('unknown', 'waiting') AND next_at > clock_timestamp()
"""

#: An open one only if its process is dead: then its call is not waited for until its time is over.
_TRY_NOW = b"""
UPDATE execution_step SET next_at = clock_timestamp()
 WHERE execution_id = %(execution_id)s AND next_at > clock_timestamp()
   AND (state IN ('failed', 'unknown', 'waiting') OR state = 'open' AND %(process_is_dead)s)
RETURNING step
"""

#: How far an execution of a declared workflow is, in the one word of `declared.executions.state_of`.
_DECLARED_STATE = b"""CASE WHEN state = 'completed' THEN 'COMPLETED'
            WHEN state = 'undone' THEN CASE WHEN cancelled_by IS NULL THEN 'FAILED' ELSE 'CANCELLED' END
            WHEN waits_for IS NULL THEN 'RUNNING' ELSE 'FAILED' END"""

_OF_FLOWS = (
    b"SELECT "
    + _EXECUTION
    + b""" FROM execution
 WHERE flow LIKE 'workflow.%%' AND (%(flows)s::text[] IS NULL OR flow = ANY(%(flows)s))
   AND (%(state)s::text IS NULL OR %(state)s = """
    + _DECLARED_STATE
    + b""")
   AND (%(before)s::timestamptz IS NULL OR (created_at, execution_id) < (%(before)s, %(before_id)s))
 ORDER BY created_at DESC, execution_id DESC LIMIT %(limit)s"""
)

#: Of each workflow the last few, by the index of flows: its flows are its versions.
_LAST_OF_EACH = (
    b"""
SELECT of.workflow_id, last.execution_id, last.state, last.created_at, last.took_s
  FROM unnest(%(workflow_ids)s::text[]) AS of (workflow_id)
 CROSS JOIN LATERAL (
       SELECT execution_id, created_at, """
    + _DECLARED_STATE
    + b""" AS state, extract(epoch FROM coalesce(ended_at, clock_timestamp()) - created_at)::float8 AS took_s
         FROM execution
        WHERE flow LIKE 'workflow.%%'
          AND flow = ANY(ARRAY(SELECT 'workflow.' || version.workflow_id || '.v' || version.version
                                 FROM workflow_version AS version WHERE version.workflow_id = of.workflow_id))
        ORDER BY created_at DESC, execution_id DESC LIMIT %(most)s) AS last
 ORDER BY of.workflow_id, last.created_at, last.execution_id"""
)

_CHANGE = b"UPDATE execution SET flow = %(flow)s, input = %(input)s WHERE execution_id = %(execution_id)s"

#: From here on it goes on by events: whoever drove it looks at it later.
_GO_ON = b"""
WITH woken AS (
    UPDATE execution SET next_at = clock_timestamp(), driver = 'events'
     WHERE execution_id = %(execution_id)s AND next_at IS NOT NULL)
UPDATE execution_step SET next_at = clock_timestamp()
 WHERE execution_id = %(execution_id)s AND step = %(step)s AND state = 'waiting'
"""

_WAITING = (
    b"SELECT "
    + _EXECUTION
    + b" FROM execution WHERE waits_for IS NOT NULL AND execution_id > %(after)s ORDER BY execution_id LIMIT %(limit)s"
)


class LastExecution(NamedTuple):
    """An execution of a declared workflow, in short."""

    execution_id: str
    state: str
    created_at: datetime
    took_s: float


def add(
    work: Work,
    flow: str,
    subject: str,
    given: Document,
    *,
    driver: Driver,
    timeout: timedelta | None,
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
        timeout: How long it may take up to the pivot; None if there is no limit.
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
    return of_subjects(work, [subject])


def of_subjects(work: Work, subjects: Collection[str]) -> list[Execution]:
    """List the executions for *subjects*, oldest first."""
    return _executions(work).execute(_OF_SUBJECTS, {"subjects": list(subjects)}).fetchall()


def take_due(work: Work, driver: Driver, *, limit: int, grace: timedelta) -> list[Execution]:
    """Take up to *limit* executions that have something to do; until *grace* has passed, nobody else takes them."""
    return _executions(work).execute(_TAKE_DUE, {"driver": driver, "limit": limit, "grace": grace}).fetchall()


def add_run(work: Work, run_id: str, execution_ids: Collection[str]) -> None:
    """Record that a run of a DAG has taken executions."""
    work.execute(_ADD_RUN, {"run_id": run_id, "execution_ids": list(execution_ids)})


def runs_of(work: Work, execution_id: str) -> list[str]:
    """List the runs of a DAG that have taken an execution, the first one first."""
    return [row[0] for row in work.execute(_RUNS, {"execution_id": execution_id})]


def hand_over(work: Work, driver: Driver, to: Driver, *, overdue: timedelta, limit: int) -> list[str]:
    """Have at most *limit* executions driven otherwise that have been due for *overdue* and were not taken; return their IDs."""
    values = {"driver": driver, "to": to, "overdue": overdue, "limit": limit}
    return [row[0] for row in work.execute(_HAND_OVER, values)]


def release(work: Work, driver: Driver, execution_ids: Collection[str]) -> None:
    """Have what was taken, and waits for nothing, taken up by the next who looks."""
    work.execute(_RELEASE, {"execution_ids": list(execution_ids), "driver": driver})


def waiting(work: Work, *, after: str = "", limit: int = 100) -> list[Execution]:
    """List executions that wait for a person: at most *limit* after an ID."""
    return _executions(work).execute(_WAITING, {"after": after, "limit": limit}).fetchall()


def wake(work: Work, flows: Collection[str], subjects: Collection[str]) -> None:
    """Have executions taken up now whose step waits to hear what became of it, if it waits for its next time."""
    work.execute(_WAKE, {"flows": list(flows), "subjects": list(subjects)})


def of_flows(
    work: Work,
    flows: Collection[str] | None,
    *,
    state: str | None = None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[Execution]:
    """List executions of declared workflows, the newest first: of all, or of *flows*, or in *state*; after a place in the list."""
    values = {
        "flows": list(flows) if flows is not None else None,
        "state": state,
        "before": before[0] if before else None,
        "before_id": before[1] if before else None,
        "limit": limit,
    }
    return _executions(work).execute(_OF_FLOWS, values).fetchall()


def last_of_each(work: Work, workflow_ids: Collection[str], *, most: int) -> dict[str, list[LastExecution]]:
    """List the last executions of each declared workflow, the newest last."""
    found: dict[str, list[LastExecution]] = {workflow_id: [] for workflow_id in workflow_ids}
    values = {"workflow_ids": list(found), "most": most}
    for workflow_id, *fields in work.execute(_LAST_OF_EACH, values):
        found[workflow_id].append(LastExecution(*fields))
    return found


def change(work: Work, execution: Execution, flow: str, given: Document) -> None:
    """Have an execution that is locked go on with another flow, or another input."""
    work.execute(_CHANGE, {"execution_id": execution.execution_id, "flow": flow, "input": Jsonb(given)})


def go_on_by_events(work: Work, execution_id: str, step: str) -> None:
    """Have an execution taken up now by whoever drives by events, whose *step* has what it waited for."""
    work.execute(_GO_ON, {"execution_id": execution_id, "step": step})


def try_now(work: Work, execution: Execution, *, process_is_dead: bool) -> list[str]:
    """Have the steps tried now that wait for their time, or whose call is taken for over; return their names."""
    values = {"execution_id": execution.execution_id, "process_is_dead": process_is_dead}
    return [row[0] for row in work.execute(_TRY_NOW, values)]


def steps_of(work: Work, execution_id: str) -> list[StepProgress]:
    """Read how far each step is, in the order in which they began."""
    return _steps(work).execute(_STEPS, {"execution_id": execution_id}, prepare=True).fetchall()


def how_far(work: Work, execution_id: str) -> dict[tuple[str, Direction], StepProgress]:
    """Read how far each step is, without the log of its tries."""
    return progress_of(_steps(work).execute(_HOW_FAR, {"execution_id": execution_id}, prepare=True))


def steps_named(work: Work, execution_ids: Collection[str], step: str, direction: Direction) -> list[StepProgress]:
    """Read how far one step is in each execution that has begun it."""
    values = {"execution_ids": list(execution_ids), "step": step, "direction": direction}
    return _steps(work).execute(_STEPS_NAMED, values).fetchall()


def begin(
    work: Work, execution: Execution, step: str, direction: Direction, key: str, *, timeout: timedelta
) -> StepProgress:
    """Open a try of a step. Commit it before its call."""
    values = {**_place(execution, step, direction), "key": key, "timeout": timeout}
    return _the(_steps(work).execute(_BEGIN, values, prepare=True), step)


def end(work: Work, execution: Execution, tried: StepProgress, end: StepEnd) -> StepProgress | None:
    """
    Record how a try ended that `begin` returned; the execution is locked.

    Return None if another process has tried the step since, and this end is of no account.
    """
    values = {**_place(execution, tried.step, tried.direction), **_end_values(end), "tries": tried.tries}
    return _steps(work).execute(_END, values, prepare=True).fetchone()


def made(work: Work, execution: Execution, tried: StepProgress, end: StepEnd, took: timedelta) -> StepProgress:
    """Record a try that was made in this transaction, with its end; the execution is locked."""
    values = {
        **_place(execution, tried.step, tried.direction),
        **_end_values(end),
        "key": tried.key,
        "tries": tried.tries,
        "took": took,
    }
    return _the(_steps(work).execute(_MADE, values, prepare=True), tried.step)


def _end_values(end: StepEnd) -> dict[str, Any]:
    return {
        "state": end.state,
        "output": Jsonb(end.output) if end.output is not None else None,
        "message": end.message,
        "error": end.error,
        "wait": timedelta(seconds=end.wait_s) if end.wait_s is not None else None,
        "counts": end.counts,
    }


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


def save(work: Work, execution: Execution) -> None:
    """Write what may have changed of an execution that is locked."""
    names = ("execution_id", "state", "cancelled_by", "reason", "waits_for", "next_at")
    work.execute(_SET, {name: getattr(execution, name) for name in names}, prepare=True)


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
