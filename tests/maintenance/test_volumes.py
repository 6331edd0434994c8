"""A stream that reads, or rejects, much more or less than at the same hour of the weeks before is an alert."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from crossdock.db.database import Store
from crossdock.maintenance import volumes
from crossdock.maintenance.volumes import VolumeLimits
from crossdock.observability import alerts
from crossdock.observability.alerts import Kind
from tests.maintenance.ledger_rows import ended

NOW = datetime(2026, 11, 23, 10, 5, tzinfo=UTC)
LIMITS = VolumeLimits(factor=3, records=100)


def at(weeks: int, minute: int = 10) -> datetime:
    """A time in the hour from nine to ten, *weeks* ago."""
    return datetime(2026, 11, 23, 9, minute, tzinfo=UTC) - timedelta(weeks=weeks)


def changed(store: Store, now: datetime = NOW) -> dict[str, str]:
    """Check, and keep the alerts; return their messages."""
    with store.question() as work:
        found = volumes.changed(work, LIMITS, now)
    with store.transaction() as work:
        alerts.hold(work, Kind.VOLUME_CHANGED, found)
    return {stream: what.message for stream, what in found.items()}


def usual(store: Store, *, read: int = 1000, rejected: int = 0, weeks: int = 4) -> None:
    for week in range(1, weeks + 1):
        ended(store, at(week), read=read, rejected=rejected)


def test_far_fewer_records_than_usual_are_an_alert(store: Store) -> None:
    usual(store)
    ended(store, at(0, 10), read=100)
    ended(store, at(0, 50), read=200)

    assert changed(store) == {
        "shop.orders": "shop.orders, Mon 09:00 to 10:00 UTC: 300 records were read; usually 1,000"
    }


def test_far_more_records_than_usual_are_an_alert(store: Store) -> None:
    usual(store)
    ended(store, at(0), read=3001)

    assert list(changed(store)) == ["shop.orders"]


@pytest.mark.parametrize("read", [334, 1000, 3000])
def test_within_the_factor_is_as_usual(store: Store, read: int) -> None:
    usual(store)
    ended(store, at(0), read=read)

    assert changed(store) == {}


def test_a_difference_of_a_few_records_is_chance(store: Store) -> None:
    """One order in place of ten is no news at night."""
    usual(store, read=10)
    ended(store, at(0), read=100)

    assert changed(store) == {}


def test_a_larger_share_of_rejected_records_is_an_alert(store: Store) -> None:
    usual(store, rejected=10)
    ended(store, at(0), read=1000, rejected=200, state="partial")

    assert changed(store) == {
        "shop.orders": "shop.orders, Mon 09:00 to 10:00 UTC: 20.0% of 1,000 records were rejected; usually 1.0%"
    }


def test_fewer_rejected_records_than_usual_are_no_alert(store: Store) -> None:
    """Somebody has corrected the source."""
    usual(store, rejected=500)
    ended(store, at(0), read=1000)

    assert changed(store) == {}


def test_with_two_weeks_of_history_nobody_knows_what_is_usual(store: Store) -> None:
    usual(store, weeks=2)
    ended(store, at(0), read=1)

    assert changed(store) == {}


@pytest.mark.parametrize("run", [{"moves_watermark": False}, {"mode": "full"}, {"state": "failed"}])
def test_runs_of_another_kind_are_not_compared(store: Store, run: dict[str, object]) -> None:
    """A backfill, a first full sync, and what a failed run had read until then."""
    usual(store)
    ended(store, at(0), read=1000)
    ended(store, at(0), read=90_000, **run)  # type: ignore[arg-type]

    assert changed(store) == {}


def test_an_alert_lasts_until_an_hour_with_a_sync_is_as_usual(store: Store) -> None:
    """An hour without a sync proves nothing; it would open and close with each daily sync."""
    usual(store)
    ended(store, at(0), read=1)
    opened = changed(store)

    assert changed(store, NOW + timedelta(hours=3)) == opened
    ended(store, at(-1), read=1000)
    assert changed(store, NOW + timedelta(weeks=1)) == {}
