"""The ledger: one row for each run, with the outcome of every record that it read."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
from psycopg.rows import class_row, kwargs_row
from psycopg.types.json import Jsonb

from crossdock.core.decoding import prepare
from crossdock.core.errors import NotFound, Terminal
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Work
from crossdock.db.leases import LeaseKey
from crossdock.sync.model import Counts, Mode, RowCounts, RunState, SyncRequest, Window
from crossdock.sync.quarantine.model import EXAMPLES, Warned

prepare(tuple[Warned, ...])


class PagesGone(Terminal):
    """A run cannot continue: the retention of its pages has ended and they are deleted."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run, as recorded in the ledger."""

    run_id: str
    integration: str
    dataset: str
    shard: str
    mode: Mode
    request: SyncRequest
    #: The DAG run that it belongs to; None for a run without one. Airflow's run ids are unique only within a DAG:
    #: two schedules that meet at noon have the same one.
    dag_id: str | None
    dag_run_id: str | None
    attempt: int
    state: RunState
    fencing_token: int
    window_low: datetime | None
    window_high: datetime | None
    moves_watermark: bool
    #: How many records the source reported for this window; None if it was not asked.
    expected_records: int | None
    counts: Counts
    #: The same for the lines of records; all 0 if they have none.
    lines: Counts
    #: Schema drift: fields that are new, gone or retyped against the contract; None if none was found.
    drift: list[dict[str, str]] | None
    #: Rules of the level `warn` that loaded records fail, each with how many, and some of their IDs.
    warnings: tuple[Warned, ...]
    error: str | None
    started_at: datetime
    finished_at: datetime | None

    @property
    def lease(self) -> LeaseKey:
        return LeaseKey(self.integration, self.dataset, self.shard)

    @property
    def stream(self) -> str:
        """`<integration>.<dataset>`."""
        return self.lease.stream

    @property
    def window(self) -> Window:
        if self.window_high is None:
            raise ValueError(f"Run {self.run_id} has no window yet: it was interrupted before it was planned")
        return Window(self.window_low, self.window_high)

    @property
    def suppress_events(self) -> bool:
        """Whether its events are stored without being delivered: backfills, unless `emit_events` was set."""
        return self.request.suppress_events

    @property
    def seconds(self) -> float:
        return ((self.finished_at or datetime.now(UTC)) - self.started_at).total_seconds()


_COLUMNS = b"""run_id, integration, dataset, shard, mode, request, dag_id, dag_run_id, attempt, state, fencing_token,
       window_low, window_high, moves_watermark, expected_records, drift, warnings, error, started_at, finished_at,
       read, inserted, updated, unchanged, stale, rejected, held,
       lines_read, lines_inserted, lines_updated, lines_unchanged, lines_stale, lines_rejected, lines_held"""

_START = b"""
INSERT INTO sync_run
    (run_id, integration, dataset, shard, mode, request, dag_id, dag_run_id, attempt, state, moves_watermark)
VALUES (%(run_id)s, %(integration)s, %(dataset)s, %(shard)s, %(mode)s, %(request)s, %(dag_id)s, %(dag_run_id)s,
        %(attempt)s,
        'running', %(moves_watermark)s)
"""

#: The last attempt of a DAG run, for each shard: a retried task continues it, a cleared DAG run starts the next.
_OF_DAG_RUN = (
    b"SELECT DISTINCT ON (shard) " + _COLUMNS + b" FROM sync_run"
    b" WHERE dag_run_id = %(dag_run_id)s AND integration || '.' || dataset = %(stream)s AND dag_id IS NOT DISTINCT FROM %(dag_id)s"
    b" ORDER BY shard, attempt DESC"
)

_GET = b"SELECT " + _COLUMNS + b" FROM sync_run WHERE run_id = %(run_id)s"

_NEWEST = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM sync_run
 WHERE mode <> 'replay' ORDER BY started_at DESC LIMIT %(limit)s"""
)

#: Keyset pagination by (started_at, run_id), newest first: rows that are added meanwhile do not shift the next page.
_PAGE = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM sync_run
 WHERE (%(of_integration)s::text IS NULL OR (integration = %(of_integration)s AND dataset = %(of_dataset)s))
   AND (%(integration)s::text IS NULL OR integration = %(integration)s)
   AND (%(state)s::text IS NULL OR state = %(state)s)
   AND (%(dag_id)s::text IS NULL OR dag_id = %(dag_id)s)
   AND (%(dag_run_id)s::text IS NULL OR dag_run_id = %(dag_run_id)s)
   AND (%(started_at)s::timestamptz IS NULL OR (started_at, run_id) < (%(started_at)s, %(run_id)s))
 ORDER BY started_at DESC, run_id DESC LIMIT %(limit)s"""
)

#: The run to compare one with: of the same shard and mode, and no longer running.
_BEFORE = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM sync_run
 WHERE integration = %(integration)s AND dataset = %(dataset)s AND shard = %(shard)s AND mode = %(mode)s AND state <> 'running'
   AND (started_at, run_id) < (%(started_at)s, %(run_id)s)
 ORDER BY started_at DESC, run_id DESC LIMIT 1"""
)

#: The first run that was asked for a key after an instant. So many are looked at, by the index of an integration's runs.
_FIRST_OF_KEY = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM (SELECT * FROM sync_run WHERE integration = %(integration)s AND started_at >= %(since)s
                  ORDER BY started_at LIMIT 2000) AS later
 WHERE dataset = %(dataset)s AND mode = 'keys' AND request->'keys' ? %(key)s
 ORDER BY started_at LIMIT 1"""
)

#: For each stream its last runs, by the index of an integration's runs.
_LATEST_OF_STREAMS = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM unnest(%(integrations)s::text[], %(datasets)s::text[]) AS stream (of_integration, of_dataset)
 CROSS JOIN LATERAL (SELECT * FROM sync_run WHERE integration = of_integration AND dataset = of_dataset AND mode <> 'replay'
                      ORDER BY started_at DESC LIMIT %(limit)s) AS latest
 ORDER BY integration, dataset, started_at"""
)

#: `now()`, which an index can be asked for: the clock itself may differ from row to row.
_TOTALS = b"""
SELECT count(*), coalesce(sum(read), 0)::bigint, coalesce(sum(inserted), 0)::bigint, coalesce(sum(updated), 0)::bigint,
       coalesce(sum(unchanged), 0)::bigint, coalesce(sum(stale), 0)::bigint, coalesce(sum(rejected), 0)::bigint,
       coalesce(sum(held), 0)::bigint
  FROM sync_run WHERE started_at > now() - %(period)s AND state <> 'running' AND mode <> 'replay'
"""

_COMPLETE = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM sync_run
 WHERE integration = %(integration)s AND dataset = %(dataset)s AND state IN ('done', 'partial')
   AND mode IN ('full', 'delta', 'window') AND window_high IS NOT NULL"""
)

_BACKFILLS = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM sync_run
 WHERE integration = %(integration)s AND dataset = %(dataset)s AND request->>'backfill_day' IS NOT NULL
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

#: Locks the row as adding the counts does, since batches of one run are loaded by several threads. No more than that: a batch
#: that has rejected a record keeps the run from being deleted, and FOR UPDATE would wait for it, which waits for our counts.
_WARNINGS = b"SELECT warnings FROM sync_run WHERE run_id = %(run_id)s FOR NO KEY UPDATE"

_SET_WARNINGS = b"UPDATE sync_run SET warnings = %(warnings)s WHERE run_id = %(run_id)s"

_RECORD_DRIFT = b"UPDATE sync_run SET drift = %(drift)s WHERE run_id = %(run_id)s"

#: An end is written once: a zombie that fails later must not mark a finished run as failed.
_FINISH = b"""
UPDATE sync_run SET state = %(state)s, error = %(error)s, finished_at = clock_timestamp()
 WHERE run_id = %(run_id)s AND state = 'running'
"""


_UNFINISHED = b"""
SELECT run_id, r.integration, r.dataset, started_at, coalesce(l.expires_at > clock_timestamp(), false) AS has_lease
  FROM sync_run r LEFT JOIN lease l ON l.holder = r.run_id
 WHERE state = 'running' ORDER BY started_at
"""

#: Not without its pages: with none left to load it would succeed, and move the watermark past records it never loaded.
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
    Start a run for *request*, or find the running one of the same DAG run.

    Idempotent: an Airflow retry finds its own run and continues where it stopped. A DAG run that was cleared
    after its run ended gets a new run with the next attempt number.
    """
    earlier = of_dag_run(work, dag_run_id, key.stream, dag_id=dag_id) if dag_run_id else []
    last = next((run for run in earlier if run.shard == key.shard), None)
    if last and last.state is RunState.RUNNING:
        return last
    run_id = _new_run_id(key.dataset)
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
        # The DAG run was cleared: it covers the same window as before.
        set_window(work, run_id, last.window, last.expected_records)
    return get(work, run_id)


def get(work: Work, run_id: str) -> Run:
    """
    Read the run *run_id*.

    Raises:
        NotFound: there is no such run.

    """
    run = _runs(work).execute(_GET, {"run_id": run_id}).fetchone()
    if run is None:
        raise NotFound(f"There is no run {run_id!r}", hint=Hint(HintId.LIST_RUNS))
    return run


def newest(work: Work, *, limit: int = 20) -> list[Run]:
    """List the last *limit* runs that read a source, newest first: a replay of the quarantine is none."""
    return _runs(work).execute(_NEWEST, {"limit": limit}).fetchall()


def page(
    work: Work,
    *,
    stream: str | None = None,
    integration: str | None = None,
    state: RunState | None = None,
    dag_id: str | None = None,
    dag_run_id: str | None = None,
    after: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> list[Run]:
    """List up to *limit* runs that follow *after* (started_at, run_id), newest first."""
    started_at, run_id = after or (None, None)
    values = {"integration": integration, "state": state, "dag_id": dag_id, "dag_run_id": dag_run_id}
    if stream is None:
        of_integration, of_dataset = None, None
    else:
        of_integration, _, of_dataset = stream.partition(".")
    values |= {"of_integration": of_integration, "of_dataset": of_dataset}
    place = {"started_at": started_at, "run_id": run_id, "limit": limit}
    return _runs(work).execute(_PAGE, {**values, **place}).fetchall()


def before(work: Work, run: Run) -> Run | None:
    """Find the run of the same stream, shard and mode before *run* that has ended; None if *run* is the first."""
    names = ("integration", "dataset", "shard", "mode", "started_at", "run_id")
    return _runs(work).execute(_BEFORE, {name: getattr(run, name) for name in names}).fetchone()


def first_of_key(work: Work, integration: str, dataset: str, key: str, *, since: datetime) -> Run | None:
    """Find the first run that was asked for *key* after *since*; None if there is none, or it came much later."""
    values = {"integration": integration, "dataset": dataset, "key": key, "since": since}
    return _runs(work).execute(_FIRST_OF_KEY, values).fetchone()


def latest_of_streams(work: Work, streams: Iterable[str], *, limit: int) -> dict[str, list[Run]]:
    """List the last *limit* runs of each of *streams* that read their source, oldest first; those that never ran are left out."""
    names = [stream.partition(".") for stream in streams]
    values = {"integrations": [name[0] for name in names], "datasets": [name[2] for name in names], "limit": limit}
    found: dict[str, list[Run]] = {}
    for run in _runs(work).execute(_LATEST_OF_STREAMS, values):
        found.setdefault(run.stream, []).append(run)
    return found


def totals(work: Work, period: timedelta) -> tuple[int, Counts]:
    """
    Count the runs that began within the last *period* and have ended, and add up what became of their records.

    A replay of the quarantine is left out: its records were counted when they were rejected.
    """
    runs, *outcomes = work.execute(_TOTALS, {"period": period}).fetchone() or (0,)
    return runs, Counts(**dict(zip(Counts.__struct_fields__, outcomes, strict=True)))


def complete(work: Work, key: LeaseKey) -> list[Run]:
    """List runs that read their whole window and succeeded; not those with keys or a limit."""
    found = _runs(work).execute(_COMPLETE, msgspec.structs.asdict(key))
    return [run for run in found if not run.request.limit]


def backfills(work: Work, key: LeaseKey) -> list[Run]:
    """List runs for single days, newest first."""
    return _runs(work).execute(_BACKFILLS, msgspec.structs.asdict(key)).fetchall()


class UnfinishedRun(msgspec.Struct, frozen=True):
    """A run that is still running, or whose worker died."""

    run_id: str
    integration: str
    dataset: str
    started_at: datetime
    #: Whether it still has its lease; otherwise its worker stopped sending heartbeats, or it waits for its next task.
    has_lease: bool


def unfinished(work: Work) -> list[UnfinishedRun]:
    """List runs without an end, oldest first."""
    return work.cursor(row_factory=class_row(UnfinishedRun)).execute(_UNFINISHED).fetchall()


def set_window(work: Work, run_id: str, window: Window, expected_records: int | None) -> None:
    """Record the window that the run covers, and how many records the source reported for it."""
    work.execute(_SET_WINDOW, {"run_id": run_id, "low": window.low, "high": window.high, "expected": expected_records})


def add_counts(work: Work, run_id: str, counts: RowCounts) -> None:
    """Add a batch's counts to its run, in the batch's own transaction, so that a crash counts nothing twice."""
    lines = {f"lines_{outcome}": count for outcome, count in msgspec.structs.asdict(counts.lines).items()}
    work.execute(_ADD_COUNTS, {"run_id": run_id, **msgspec.structs.asdict(counts.records), **lines})


def add_warnings(work: Work, run_id: str, warned: Sequence[Warned]) -> None:
    """Add a batch's warnings to those of its run, in the batch's own transaction."""
    if not warned:
        return
    (stored,) = work.execute(_WARNINGS, {"run_id": run_id}).fetchone() or ([],)
    known = {one.rule: one for one in msgspec.convert(stored, tuple[Warned, ...])}
    for one in warned:
        before = known.get(one.rule)
        if before is not None:
            examples = (*before.examples, *one.examples)[:EXAMPLES]
            known[one.rule] = msgspec.structs.replace(one, records=before.records + one.records, examples=examples)
        else:
            known[one.rule] = one
    work.execute(_SET_WARNINGS, {"run_id": run_id, "warnings": Jsonb(msgspec.to_builtins(list(known.values())))})


def record_drift(work: Work, run_id: str, drift: list[dict[str, str]]) -> None:
    """Record how the source differs from its contract in this run."""
    work.execute(_RECORD_DRIFT, {"run_id": run_id, "drift": Jsonb(drift) if drift else None})


def finish(work: Work, run_id: str, state: RunState, error: str | None = None) -> None:
    """End the run. The database refuses an end whose counts do not add up. Idempotent."""
    work.execute(_FINISH, {"run_id": run_id, "state": state.value, "error": error})


def reopen(work: Work, run_id: str) -> None:
    """
    Reopen a failed run after one of its later tasks was cleared. A run that ended otherwise stays ended.

    Raises:
        PagesGone: its pages have been deleted.

    """
    reopened = work.execute(_REOPEN, {"run_id": run_id}).rowcount
    if not reopened and get(work, run_id).state is RunState.FAILED:
        raise PagesGone(
            f"The pages of run {run_id} were deleted after HUB_LANDING_DAYS. Clear `extract` with its downstream tasks to "
            "read the source again"
        )


def of_dag_run(work: Work, dag_run_id: str, stream: str, *, dag_id: str | None = None) -> list[Run]:
    """List the last attempt of each shard of a DAG run; one if it is not shared, none if it never began."""
    values = {"dag_run_id": dag_run_id, "stream": stream, "dag_id": dag_id}
    return _runs(work).execute(_OF_DAG_RUN, values).fetchall()


def _new_run_id(dataset: str) -> str:
    """Make an id that sorts by time, names the dataset, and is short enough to be read out on the telephone."""
    return f"{dataset}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def _runs(work: Work) -> psycopg.Cursor[Run]:
    """Open a cursor whose rows are runs: each column is the field, or the count, of its name."""
    return work.cursor(row_factory=kwargs_row(_run))


def _run(mode: str, state: str, request: Any, warnings: Any, **columns: Any) -> Run:
    outcomes = Counts.__struct_fields__
    return Run(
        mode=Mode(mode),
        state=RunState(state),
        request=msgspec.convert(request, SyncRequest),
        warnings=msgspec.convert(warnings, tuple[Warned, ...]),
        counts=Counts(**{outcome: columns.pop(outcome) for outcome in outcomes}),
        lines=Counts(**{outcome: columns.pop(f"lines_{outcome}") for outcome in outcomes}),
        **columns,
    )
