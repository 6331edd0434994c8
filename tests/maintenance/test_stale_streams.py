"""A stream that has not ended well within twice its schedule is an alert, whatever the reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from crossdock.db.database import Store
from crossdock.maintenance import stale_streams
from crossdock.maintenance.stale_streams import ScheduledStream
from tests.maintenance.ledger_rows import ended
from tests.shop import query

#: A Monday.
NOW = datetime(2026, 11, 23, 9, 20, tzinfo=UTC)
HOURLY = ScheduledStream("shop", "orders", "0 * * * *", ("all",))


def minutes_ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def stale(store: Store, *streams: ScheduledStream, now: datetime = NOW) -> list[str]:
    """The IDs of the streams that are stale at *now*."""
    return list(found(store, *streams, now=now))


def found(store: Store, *streams: ScheduledStream, now: datetime = NOW) -> dict[str, str]:
    with store.question() as work:
        what = stale_streams.stale(work, streams or (HOURLY,), now)
    return {stream: each.message for stream, each in what.items()}


@pytest.fixture(autouse=True)
def _known_for_long(store: Store) -> None:
    """The hub has known the stream for days."""
    found(store)
    query(store, "UPDATE scheduled_stream SET since = %s RETURNING 1", minutes_ago(3 * 24 * 60))


def test_a_stream_that_missed_one_run_is_not_stale(store: Store) -> None:
    """The next one is not over yet."""
    ended(store, datetime(2026, 11, 23, 8, 1, tzinfo=UTC))

    assert stale(store) == []


def test_a_stream_that_missed_two_runs_is_stale_and_says_since_when(store: Store) -> None:
    ended(store, datetime(2026, 11, 23, 7, 1, tzinfo=UTC))

    (message,) = found(store).values()

    assert message == (
        "No sync of shop.orders has ended well since 2026-11-23 07:01 UTC, and its schedule is 0 * * * *"
    )
    ended(store, minutes_ago(1))
    assert stale(store) == []


def test_the_run_that_is_due_now_has_time_to_end(store: Store) -> None:
    """After one failed run the alert would otherwise open for the seconds that the next one takes."""
    ended(store, datetime(2026, 11, 23, 7, 1, tzinfo=UTC))

    assert stale(store, now=datetime(2026, 11, 23, 9, 14, tzinfo=UTC)) == []
    assert stale(store, now=datetime(2026, 11, 23, 9, 16, tzinfo=UTC)) == ["shop.orders"]


@pytest.mark.parametrize(
    "run", [{"state": "failed"}, {"state": "held"}, {"moves_watermark": False}, {"stream": "shop.prices"}]
)
def test_only_a_run_that_read_everything_and_ended_well_counts(store: Store, run: dict[str, object]) -> None:
    """Not one that failed, was put on hold, or read chosen records only."""
    ended(store, minutes_ago(1), **run)  # type: ignore[arg-type]

    assert stale(store) == ["shop.orders"]


def test_a_run_with_records_in_quarantine_ended_well(store: Store) -> None:
    """They have an alert of their own."""
    ended(store, minutes_ago(1), state="partial", read=2, rejected=1)

    assert stale(store) == []


def test_a_stream_that_never_ran_counts_from_when_it_was_first_seen(store: Store) -> None:
    """A new one has as much time as any other."""
    new = ScheduledStream("shop", "prices", "0 * * * *", ("all",))
    later = datetime.now(UTC)

    assert stale(store, HOURLY, new, now=later) == ["shop.orders"]
    messages = found(store, HOURLY, new, now=later + timedelta(hours=4))
    assert messages["shop.prices"] == "No sync of shop.prices has ended well yet, and its schedule is 0 * * * *"


def test_a_changed_schedule_counts_from_its_change_and_an_ended_one_is_forgotten(store: Store) -> None:
    """A stream that was synced once a day and now each minute is not stale at once."""
    often = ScheduledStream("shop", "orders", "* * * * *", ("all",))

    assert stale(store, often, now=datetime.now(UTC)) == []
    with store.question() as work:
        assert stale_streams.stale(work, [], NOW) == {}
    assert query(store, "SELECT count(*) FROM scheduled_stream") == [(0,)]


def test_a_night_without_runs_is_not_missed(store: Store) -> None:
    """On Monday at nine the last run of a stream for office hours was on Friday evening."""
    office = ScheduledStream("shop", "prices", "0 9-17 * * 1-5", ("all",))
    stale(store, office)
    query(store, "UPDATE scheduled_stream SET since = %s RETURNING 1", minutes_ago(30 * 24 * 60))
    ended(store, datetime(2026, 11, 20, 17, 2, tzinfo=UTC), stream="shop.prices")

    assert stale(store, office) == []
    assert stale(store, office, now=NOW + timedelta(hours=2)) == ["shop.prices"]


def test_a_shared_stream_is_as_fresh_as_its_oldest_shard(store: Store) -> None:
    """One of two workers that fails each time leaves half of the records old."""
    shared = ScheduledStream("shop", "orders", "0 * * * *", ("shard:1/2", "shard:2/2"))
    ended(store, minutes_ago(5), shard="shard:1/2")
    assert stale(store, shared) == ["shop.orders"]

    ended(store, minutes_ago(300), shard="shard:2/2")
    assert stale(store, shared) == ["shop.orders"], "it ended well long ago"

    ended(store, minutes_ago(4), shard="shard:2/2")
    assert stale(store, shared) == []

    query(store, "DELETE FROM sync_run RETURNING 1")
    ended(store, minutes_ago(3), shard="all")
    assert stale(store, shared) == [], "a run of the whole stream has read each shard"


def test_a_paused_integration_is_named_as_the_reason(store: Store) -> None:
    """A paused stream is never silent."""
    query(
        store,
        "INSERT INTO integration (integration_id, kind, name, state, settings, connection_id, created_by, updated_by)"
        " VALUES ('shop', 'commercetools', 'Shop', 'paused', '{}', 'shop', 'ada', 'ada') RETURNING 1",
    )

    (message,) = found(store).values()

    assert message.endswith(". shop is paused")
