"""Schedules as cron writes them."""

from __future__ import annotations


def is_cron(text: str) -> bool:
    """Check that *text* is a schedule that a scheduler understands: `*/15 * * * *`."""
    from croniter import croniter  # type: ignore[import-untyped]  # noqa: PLC0415  needed only with a schedule

    return bool(croniter.is_valid(text))
