"""Backfill history day by day: which days are missing, and what the run for a day reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

import pendulum

from crossdock.core.errors import BadRequest
from crossdock.db.database import Store
from crossdock.db.leases import LeaseKey
from crossdock.sync import ledger, watermarks
from crossdock.sync.model import RunState, SyncRequest, Window


class Only(StrEnum):
    """The days for which a backfill runs."""

    #: Days that no run has read completely.
    MISSING = "missing"
    #: Days whose last run failed or is on hold.
    FAILED = "failed"
    ALL = "all"


def backfill_request(day: str, *, emit_events: bool = False) -> SyncRequest:
    """
    Build the request for the window of *day* (2026-11-21, UTC).

    Raises:
        BadRequest: it is not a day.

    """
    low = midnight(parsed_day(day))
    return SyncRequest(since=low, until=low + timedelta(days=1), backfill_day=day, emit_events=emit_events)


def parsed_day(text: str) -> date:
    """Parse a day, as 2026-11-21."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadRequest(f"Cannot read {text!r} as a day. Use for example 2026-11-21") from error


def midnight(day: date) -> datetime:
    """Compute the beginning of *day* in UTC."""
    return datetime.combine(day, time(), UTC)


def days_to_run(store: Store, key: LeaseKey, *, first: date, last: date, only: Only) -> list[date]:
    """
    List the days from *first* to *last*, both included, that *only* selects, oldest first.

    *key* is the whole of a stream.

    Raises:
        BadRequest: *last* is before *first*, or in the future.

    """
    if last < first:
        raise BadRequest(f"The last day {last} is before the first day {first}")
    if last > datetime.now(UTC).date():
        raise BadRequest(f"The last day {last} is in the future")
    span = pendulum.interval(pendulum.instance(midnight(first)), pendulum.instance(midnight(last)))
    days = [date(day.year, day.month, day.day) for day in span.range("days")]
    if only is Only.ALL:
        return days
    with store.transaction() as work:
        if only is Only.FAILED:
            ended = {run.request.backfill_day: run.state for run in reversed(ledger.backfills(work, key))}
            return [day for day in days if ended.get(day.isoformat()) in (RunState.FAILED, RunState.HELD)]
        read = [run.window for run in ledger.complete(work, key)]
        # Older runs have been deleted; what they read is below the watermark, which never passes a gap.
        if reached := watermarks.read(work, key):
            read.append(Window(None, reached))
        return missing(days, read)


def missing(days: Iterable[date], windows: Sequence[Window]) -> list[date]:
    """List the *days* that *windows* together do not cover."""
    return [day for day in days if not _covered(midnight(day), midnight(day) + timedelta(days=1), windows)]


def _covered(low: datetime, high: datetime, windows: Sequence[Window]) -> bool:
    """Check whether every instant from *low* to *high* is in one of *windows*."""
    reached = low
    for window in sorted(windows, key=lambda window: window.low or datetime.min.replace(tzinfo=UTC)):
        if window.low is None or window.low <= reached:
            reached = max(reached, window.high)
    return reached >= high
