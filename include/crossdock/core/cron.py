"""Schedules as cron writes them."""

from __future__ import annotations

from datetime import datetime


def is_cron(text: str) -> bool:
    """Check that *text* is a schedule that a scheduler understands: `*/15 * * * *`."""
    from croniter import croniter  # type: ignore[import-untyped]  # noqa: PLC0415  needed only with a schedule

    return bool(croniter.is_valid(text))


def times_before(schedule: str, before: datetime, number: int) -> list[datetime]:
    """List the last *number* times of *schedule* before an instant, newest first."""
    from croniter import croniter  # noqa: PLC0415  as above

    found = croniter(schedule, before)
    return [found.get_prev(datetime) for _ in range(number)]
