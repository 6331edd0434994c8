"""Metrics of the calls to each integration: counts by minute and run, to which all workers add."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from crossdock.core.durations import BUCKETS, bucket_of, quantile_s
from crossdock.core.log import logger
from crossdock.db.database import Store, StoreRefused, StoreUnavailable, Work
from crossdock.http import shared_breaker
from crossdock.http.breaker import Outage, Phase
from crossdock.http.model import Call, Outcome

log = logger(__name__)

_ADD = b"""
INSERT INTO call_count AS kept (integration, minute, run_id, success, failure, refusal, throttled, avoided, retries,
                                answer_bytes, waited_s, durations, last_success_at)
VALUES (%(integration)s, %(minute)s, %(run_id)s, %(success)s, %(failure)s, %(refusal)s, %(throttled)s, %(avoided)s,
        %(retries)s, %(answer_bytes)s, %(waited_s)s, %(durations)s, %(last_success_at)s)
ON CONFLICT (integration, minute, run_id) DO UPDATE
   SET success = kept.success + excluded.success,
       failure = kept.failure + excluded.failure,
       refusal = kept.refusal + excluded.refusal,
       throttled = kept.throttled + excluded.throttled,
       avoided = kept.avoided + excluded.avoided,
       retries = kept.retries + excluded.retries,
       answer_bytes = kept.answer_bytes + excluded.answer_bytes,
       waited_s = kept.waited_s + excluded.waited_s,
       durations = (SELECT array_agg(mine + more ORDER BY place)
                      FROM unnest(kept.durations, excluded.durations) WITH ORDINALITY AS sum (mine, more, place)),
       last_success_at = greatest(kept.last_success_at, excluded.last_success_at)
"""

_EXPIRE = b"DELETE FROM call_count WHERE minute < clock_timestamp() - %(keep)s"

#: Completed by the column after SELECT and GROUP BY.
_SUMS = b"""
       coalesce(sum(success), 0)::bigint, coalesce(sum(failure), 0)::bigint, coalesce(sum(refusal), 0)::bigint,
       coalesce(sum(throttled), 0)::bigint, coalesce(sum(avoided), 0)::bigint, coalesce(sum(retries), 0)::bigint,
       coalesce(sum(answer_bytes), 0)::bigint, coalesce(sum(waited_s), 0)::float8, max(last_success_at)
  FROM call_count
"""

_OF_INTEGRATIONS = b"WHERE integration = ANY(%(names)s) AND minute > clock_timestamp() - %(since)s"
_SUMS_OF_INTEGRATIONS = b"SELECT integration," + _SUMS + _OF_INTEGRATIONS + b" GROUP BY integration"

_OF_RUNS = b"WHERE run_id = ANY(%(names)s)"
_SUMS_OF_RUNS = b"SELECT run_id," + _SUMS + _OF_RUNS + b" GROUP BY run_id"

#: Sums each histogram bucket over all rows.
_DURATIONS = b""" sum(count)::bigint FROM call_count, unnest(durations) WITH ORDINALITY AS bucket (count, place)
"""
_DURATIONS_OF_INTEGRATIONS = (
    b"SELECT integration," + _DURATIONS + _OF_INTEGRATIONS + b" GROUP BY integration, place ORDER BY integration, place"
)
_DURATIONS_OF_RUNS = b"SELECT run_id," + _DURATIONS + _OF_RUNS + b" GROUP BY run_id, place ORDER BY run_id, place"

_LAST_SUCCESS = b"SELECT max(last_success_at) FROM call_count WHERE integration = %(integration)s"

#: Permits used in the last full minute, as a fraction of the permits that the rate limit allows.
_LIMIT_USE = b"""
SELECT sum(c.success + c.failure + c.refusal + c.throttled)::float8 / (l.calls * 60 / l.per_s)
  FROM rate_limit l
  LEFT JOIN call_count c ON c.integration = l.integration
                        AND c.minute = date_trunc('minute', clock_timestamp()) - interval '1 minute'
 WHERE l.integration = %(integration)s GROUP BY l.calls, l.per_s
"""

#: The columns of plain sums.
_COUNTED: tuple[str, ...] = (*(outcome.value for outcome in Outcome), "retries", "answer_bytes", "waited_s")
#: Flush after this many calls, or this many seconds.
_FLUSH_CALLS = 500
_FLUSH_S = 5.0
#: How long counts are kept.
_KEEP = timedelta(days=30)


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Calls to an integration, or of a run, by their outcome."""

    #: Calls made, including retries; `avoided` ones were not made.
    calls: int
    successes: int
    failures: int
    refusals: int
    throttled: int
    avoided: int
    retries: int
    answer_bytes: int
    #: Time spent waiting for the rate limit, over all calls.
    waited_s: float
    #: None if no call was made.
    p50_s: float | None
    p95_s: float | None
    last_success_at: datetime | None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The health of an integration: the facts a person needs when something is wrong."""

    integration: str
    usage: Usage
    phase: Phase
    #: Why the breaker is not closed; None if it is.
    outage: Outage | None
    changes: list[shared_breaker.Change]
    #: Fraction of the rate limit used in the last full minute; None without a limit.
    limit_use: float | None
    #: The last success ever, even if it is older than the requested period.
    last_success_at: datetime | None


@dataclass
class _Counts:
    """Counts of one minute and run that are not flushed yet."""

    of: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))
    durations: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    last_success_at: datetime | None = None

    def add(self, call: Call, now: float) -> None:
        self.of[call.outcome] += 1
        if call.outcome is not Outcome.AVOIDED:
            self.durations[bucket_of(call.duration_s)] += 1
        self.of["retries"] += call.is_retry
        self.of["answer_bytes"] += call.answer_bytes
        self.of["waited_s"] += call.waited_s
        if call.outcome is Outcome.SUCCESS:
            self.last_success_at = datetime.fromtimestamp(now, UTC)


class CallCounts:
    """
    A `CallLog` that counts in memory, and flushes to the database regularly and on close.

    Metrics never fail a call: counts that cannot be written are dropped, with a warning.

    Args:
        run_of: Gives the ID of the run that this thread works for; empty if there is none.

    """

    def __init__(self, store: Store, integration: str, run_of: Callable[[], str] = str) -> None:
        self._store, self._integration, self._run_of = store, integration, run_of
        self._lock = threading.Lock()
        self._counts: dict[tuple[int, str], _Counts] = {}
        self._pending = 0
        self._flushed_at = time.monotonic()
        self._has_flushed = False

    def record(self, call: Call) -> None:
        """Count *call*; flush if enough is pending."""
        now = time.time()
        with self._lock:
            self._counts.setdefault((int(now // 60), self._run_of()), _Counts()).add(call, now)
            self._pending += 1
            due = self._pending >= _FLUSH_CALLS or time.monotonic() - self._flushed_at >= _FLUSH_S
        if due:
            self.flush()

    def flush(self) -> None:
        """Write the pending counts to the database."""
        with self._lock:
            counts, self._counts, self._pending = self._counts, {}, 0
            self._flushed_at = time.monotonic()
        if not counts:
            return
        self._has_flushed = True
        try:
            with self._store.transaction() as work:
                for (minute, run_id), counted in sorted(counts.items()):
                    work.execute(_ADD, self._row(minute, run_id, counted))
        except (StoreUnavailable, StoreRefused) as error:
            log.warning("Counts of calls to %s were lost: %s", self._integration, error)

    def close(self) -> None:
        """Flush the last counts, and delete counts older than a month."""
        self.flush()
        if not self._has_flushed:
            return  # a task without calls needs no database query
        try:
            with self._store.transaction() as work:
                expire(work, _KEEP)
                shared_breaker.expire(work, _KEEP)
        except (StoreUnavailable, StoreRefused) as error:
            log.warning("Old counts of calls were not deleted: %s", error)

    def _row(self, minute: int, run_id: str, counts: _Counts) -> dict[str, Any]:
        return {
            "integration": self._integration,
            "minute": datetime.fromtimestamp(minute * 60, UTC),
            "run_id": run_id,
            **counts.of,
            "durations": counts.durations,
            "last_success_at": counts.last_success_at,
        }


def health(work: Work, integration: str, *, since: timedelta = timedelta(hours=1)) -> Health:
    """Summarise the calls to *integration* in the last *since*, and its breaker now."""
    values = {"integration": integration, "since": since}
    use = work.execute(_LIMIT_USE, values).fetchone()
    last = work.execute(_LAST_SUCCESS, values).fetchone()
    state = shared_breaker.state_of(work, integration)
    return Health(
        integration=integration,
        usage=usage_of_integrations(work, [integration], since=since)[integration],
        phase=state.phase,
        outage=state.outage,
        changes=shared_breaker.history(work, integration),
        limit_use=(use[0] or 0.0) if use else None,
        last_success_at=last[0] if last else None,
    )


def usage_of_integrations(
    work: Work, names: Sequence[str], *, since: timedelta = timedelta(hours=1)
) -> dict[str, Usage]:
    """Count the calls to each of *names* in the last *since*; zeros if there were none."""
    values = {"names": list(names), "since": since}
    return _usages(work, _SUMS_OF_INTEGRATIONS, _DURATIONS_OF_INTEGRATIONS, values)


def usage_of_runs(work: Work, run_ids: Sequence[str]) -> dict[str, Usage]:
    """Count the calls of each run; zeros for a run without calls."""
    return _usages(work, _SUMS_OF_RUNS, _DURATIONS_OF_RUNS, {"names": list(run_ids)})


def usage_of_run(work: Work, run_id: str) -> Usage:
    """Count the calls of one run; zeros if it made none."""
    return usage_of_runs(work, [run_id])[run_id]


def expire(work: Work, keep: timedelta) -> int:
    """Delete the rows older than *keep* and return their number."""
    return work.execute(_EXPIRE, {"keep": keep}).rowcount


def _usages(work: Work, sums: bytes, durations: bytes, values: dict[str, Any]) -> dict[str, Usage]:
    buckets: dict[str, list[int]] = {}
    for name, count in work.execute(durations, values):
        buckets.setdefault(name, []).append(count)
    counted = {name: row for name, *row in work.execute(sums, values)}
    return {name: _usage(counted.get(name, _NO_CALLS), buckets.get(name, [])) for name in values["names"]}


#: The row of `_SUMS` for a name without calls.
_NO_CALLS: Sequence[Any] = (0, 0, 0, 0, 0, 0, 0, 0.0, None)


def _usage(counted: Sequence[Any], durations: Sequence[int]) -> Usage:
    successes, failures, refusals, throttled, avoided, retries, answer_bytes, waited_s, last_success_at = counted
    return Usage(
        calls=successes + failures + refusals + throttled,
        successes=successes,
        failures=failures,
        refusals=refusals,
        throttled=throttled,
        avoided=avoided,
        retries=retries,
        answer_bytes=answer_bytes,
        waited_s=waited_s,
        p50_s=quantile_s(durations, 0.5),
        p95_s=quantile_s(durations, 0.95),
        last_success_at=last_success_at,
    )
