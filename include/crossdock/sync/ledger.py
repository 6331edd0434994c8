"""The ledger: one row a run, with what became of every record it read."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from crossdock.core.errors import NotFound, Terminal
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Work
from crossdock.db.leases import LeaseKey
from crossdock.sync.model import Counts, Fates, Mode, RunState, SyncRequest, Window


class PagesGone(Terminal):
    """A run cannot go on: what it had read was kept for a while and is gone."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run as the ledger has it."""

    run_id: str
    integration: str
    entity: str
    partition: str
    mode: Mode
    request: SyncRequest
    #: The DAG run it answers for; None for a run of ours alone. Airflow's run ids are unique within a DAG
    #: only: two schedules that meet at noon give the same one.
    dag_id: str | None
    dag_run_id: str | None
    attempt: int
    state: RunState
    fencing_token: int
    window_low: datetime | None
    window_high: datetime | None
    moves_watermark: bool
    #: How many records the source said it has for this window; None when it was not asked.
    expected_records: int | None
    counts: Counts
    #: The same for the lines that records are made of; all 0 where they have none.
    lines: Counts
    #: Fields that are new, gone or retyped against the contract; None when nobody looked or all is as it says.
    drift: list[dict[str, str]] | None
    error: str | None
    started_at: datetime
    finished_at: datetime | None

    @property
    def lease(self) -> LeaseKey:
        return LeaseKey(self.integration, self.entity, self.partition)

    @property
    def window(self) -> Window:
        if self.window_high is None:
            raise ValueError(f"Run {self.run_id} has no window yet: it was interrupted before it was planned")
        return Window(self.window_low, self.window_high)

    @property
    def silent(self) -> bool:
        """Whether its events are kept without being told to anybody: backfills, unless somebody asked."""
        return self.request.silent

    @property
    def seconds(self) -> float:
        return ((self.finished_at or datetime.now(UTC)) - self.started_at).total_seconds()


_COLUMNS = b"""run_id, integration, entity, partition, mode, request, dag_id, dag_run_id, attempt, state, fencing_token,
       window_low, window_high, moves_watermark, expected_records, drift, error, started_at, finished_at,
       read, inserted, updated, unchanged, stale, rejected, held,
       lines_read, lines_inserted, lines_updated, lines_unchanged, lines_stale, lines_rejected, lines_held"""

_START = b"""
INSERT INTO sync_run
    (run_id, integration, entity, partition, mode, request, dag_id, dag_run_id, attempt, state, moves_watermark)
VALUES (%(run_id)s, %(integration)s, %(entity)s, %(partition)s, %(mode)s, %(request)s, %(dag_id)s, %(dag_run_id)s,
        %(attempt)s,
        'running', %(moves_watermark)s)
"""

#: The last attempt of a DAG run, for each part: a retried task goes on with it, a cleared DAG run starts the next.
_OF_DAG_RUN = (
    b"SELECT DISTINCT ON (partition) " + _COLUMNS + b" FROM sync_run"
    b" WHERE dag_run_id = %(dag_run_id)s AND entity = %(entity)s AND dag_id IS NOT DISTINCT FROM %(dag_id)s"
    b" ORDER BY partition, attempt DESC"
)

_GET = b"SELECT " + _COLUMNS + b" FROM sync_run WHERE run_id = %(run_id)s"

_NEWEST = (
    b"SELECT " + _COLUMNS + b" FROM sync_run WHERE %(entity)s::text IS NULL OR entity = %(entity)s"
    b" ORDER BY started_at DESC LIMIT %(limit)s"
)

#: Those that follow (started_at, run_id), newest first: rows that come meanwhile do not shift the next page.
_PAGE = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM sync_run
 WHERE (%(entity)s::text IS NULL OR entity = %(entity)s)
   AND (%(integration)s::text IS NULL OR integration = %(integration)s)
   AND (%(state)s::text IS NULL OR state = %(state)s)
   AND (%(started_at)s::timestamptz IS NULL OR (started_at, run_id) < (%(started_at)s, %(run_id)s))
 ORDER BY started_at DESC, run_id DESC LIMIT %(limit)s"""
)

_COMPLETE = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM sync_run
 WHERE integration = %(integration)s AND entity = %(entity)s AND state IN ('done', 'partial')
   AND mode IN ('full', 'delta', 'window') AND window_high IS NOT NULL"""
)

_BACKFILLS = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM sync_run
 WHERE integration = %(integration)s AND entity = %(entity)s AND request->>'backfill_day' IS NOT NULL
 ORDER BY started_at DESC"""
)

_SET_WINDOW = b"""
UPDATE sync_run SET window_low = %(low)s, window_high = %(high)s, expected_records = %(expected)s
 WHERE run_id = %(run_id)s
"""

_ADD_COUNTS = b"""
UPDATE sync_run
   SET read = read + %(read)s, inserted = inserted + %(inserted)s, updated = updated + %(updated)s,
       unchanged = unchanged + %(unchanged)s, stale = stale + %(stale)s,
       rejected = rejected + %(rejected)s, held = held + %(held)s,
       lines_read = lines_read + %(lines_read)s, lines_inserted = lines_inserted + %(lines_inserted)s,
       lines_updated = lines_updated + %(lines_updated)s, lines_unchanged = lines_unchanged + %(lines_unchanged)s,
       lines_stale = lines_stale + %(lines_stale)s, lines_rejected = lines_rejected + %(lines_rejected)s,
       lines_held = lines_held + %(lines_held)s
 WHERE run_id = %(run_id)s
"""

_NOTE_DRIFT = b"UPDATE sync_run SET drift = %(drift)s WHERE run_id = %(run_id)s"

#: An end is written once: a zombie that fails later must not turn a finished run red.
_FINISH = b"""
UPDATE sync_run SET state = %(state)s, error = %(error)s, finished_at = clock_timestamp()
 WHERE run_id = %(run_id)s AND state = 'running'
"""


_UNENDED = b"""
SELECT run_id, r.entity, started_at, coalesce(l.expires_at > clock_timestamp(), false)
  FROM sync_run r LEFT JOIN lease l ON l.holder = r.run_id
 WHERE state = 'running' ORDER BY started_at
"""

#: Not without its pages: with none left to load it would end well, and move the watermark past what it never loaded.
_REOPEN = b"""
UPDATE sync_run SET state = 'running', error = NULL, finished_at = NULL
 WHERE run_id = %(run_id)s AND state = 'failed' AND landing_cleared_at IS NULL
"""


def start(
    work: Work,
    key: LeaseKey,
    request: SyncRequest,
    *,
    mode: Mode,
    dag_id: str | None = None,
    dag_run_id: str | None = None,
) -> Run:
    """
    The run that answers for *request*: a new one, or the running one of the same DAG run.

    An Airflow retry finds its own run and goes on where it stood. A DAG run that was cleared after
    its run ended gets a new run with the next attempt number.
    """
    earlier = of_dag_run(work, dag_run_id, key.entity, dag_id=dag_id) if dag_run_id else []
    last = next((run for run in earlier if run.partition == key.partition), None)
    if last and last.state is RunState.RUNNING:
        return last
    run_id = _new_run_id(key.entity)
    values = {
        **msgspec.structs.asdict(key),
        "run_id": run_id,
        "mode": mode.value,
        "request": Jsonb(msgspec.to_builtins(request)),
        "dag_id": dag_id,
        "dag_run_id": dag_run_id,
        "attempt": last.attempt + 1 if last else 1,
        "moves_watermark": request.moves_watermark and mode is not Mode.REPLAY,
    }
    work.execute(_START, values)
    if last and last.window_high:
        # Somebody cleared the DAG run: it answers for the window that it answered for before.
        set_window(work, run_id, last.window, last.expected_records)
    return get(work, run_id)


def get(work: Work, run_id: str) -> Run:
    """
    The run under *run_id*.

    Raises:
        NotFound: there is none.

    """
    row = work.execute(_GET, {"run_id": run_id}).fetchone()
    if row is None:
        raise NotFound(f"There is no run {run_id!r}", hint=Hint(HintId.LIST_RUNS))
    return _run(row)


def newest(work: Work, *, entity: str | None = None, limit: int = 20) -> list[Run]:
    """The last *limit* runs, newest first."""
    return [_run(row) for row in work.execute(_NEWEST, {"entity": entity, "limit": limit})]


def page(
    work: Work,
    *,
    entity: str | None = None,
    integration: str | None = None,
    state: RunState | None = None,
    after: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> list[Run]:
    """Up to *limit* runs, newest first, those that follow *after* (started_at, run_id)."""
    started_at, run_id = after or (None, None)
    values = {"entity": entity, "integration": integration, "state": state, "limit": limit}
    rows = work.execute(_PAGE, {**values, "started_at": started_at, "run_id": run_id})
    return [_run(row) for row in rows]


def complete(work: Work, integration: str, entity: str) -> list[Run]:
    """Runs that read all of their window and ended well; not those of named keys or with a limit."""
    rows = work.execute(_COMPLETE, {"integration": integration, "entity": entity})
    return [run for run in map(_run, rows) if not run.request.limit]


def backfills(work: Work, integration: str, entity: str) -> list[Run]:
    """Runs for single days, newest first."""
    return [_run(row) for row in work.execute(_BACKFILLS, {"integration": integration, "entity": entity})]


class Unended(msgspec.Struct, frozen=True):
    """A run that is at work, or whose worker is gone."""

    run_id: str
    entity: str
    started_at: datetime
    #: Whether it still has its lease; else its worker is silent, or it waits for its next task.
    has_lease: bool


def unended(work: Work) -> list[Unended]:
    """Runs without an end, oldest first."""
    return [Unended(*row) for row in work.execute(_UNENDED)]


def set_window(work: Work, run_id: str, window: Window, expected_records: int | None) -> None:
    work.execute(_SET_WINDOW, {"run_id": run_id, "low": window.low, "high": window.high, "expected": expected_records})


def add_counts(work: Work, run_id: str, fates: Fates) -> None:
    """Adds a batch's counts to its run; in the batch's own transaction, so that a crash counts nothing twice."""
    lines = {f"lines_{fate}": count for fate, count in msgspec.structs.asdict(fates.lines).items()}
    work.execute(_ADD_COUNTS, {"run_id": run_id, **msgspec.structs.asdict(fates.records), **lines})


def note_drift(work: Work, run_id: str, drift: list[dict[str, str]]) -> None:
    """What the run saw of the source that the contract does not say."""
    work.execute(_NOTE_DRIFT, {"run_id": run_id, "drift": Jsonb(drift) if drift else None})


def finish(work: Work, run_id: str, state: RunState, error: str | None = None) -> None:
    """The run's end. The ledger refuses an end whose counts do not add up. Repeating it changes nothing."""
    work.execute(_FINISH, {"run_id": run_id, "state": state.value, "error": error})


def reopen(work: Work, run_id: str) -> None:
    """
    A failed run, at work again: somebody cleared one of its later tasks. Other ends stay.

    Raises:
        PagesGone: it has nothing left to go on with.

    """
    reopened = work.execute(_REOPEN, {"run_id": run_id}).rowcount
    if not reopened and get(work, run_id).state is RunState.FAILED:
        raise PagesGone(
            f"The pages of run {run_id} are past their time (HUB_LANDING_DAYS) and gone: clear `extract` with what "
            "follows it, and the source is read again"
        )


def of_dag_run(work: Work, dag_run_id: str, entity: str, *, dag_id: str | None = None) -> list[Run]:
    """The last attempt of each part of a DAG run; one where it was not shared, none when it never began."""
    return [
        _run(row) for row in work.execute(_OF_DAG_RUN, {"dag_run_id": dag_run_id, "entity": entity, "dag_id": dag_id})
    ]


def _new_run_id(entity: str) -> str:
    """Sorts by time, says what it is of, and is short enough to be read out on the telephone."""
    return f"{entity}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def _run(row: tuple[Any, ...]) -> Run:
    head, counts, lines = row[: len(_HEAD)], row[len(_HEAD) : len(_HEAD) + 7], row[len(_HEAD) + 7 :]
    fields = dict(zip(_HEAD, head, strict=True))
    fields["mode"] = Mode(fields["mode"])
    fields["state"] = RunState(fields["state"])
    fields["request"] = msgspec.convert(fields["request"], SyncRequest)
    return Run(**fields, counts=_counts(counts), lines=_counts(lines))


def _counts(numbers: tuple[int, ...]) -> Counts:
    return Counts(**dict(zip(Counts.__struct_fields__, numbers, strict=True)))


_HEAD = tuple(name.strip() for name in _COLUMNS.decode().split(",")[:19])
