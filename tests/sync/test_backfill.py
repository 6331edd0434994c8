"""History by the day: what is missing, and that reading it again harms nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.core.errors import BadRequest
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.simulation import simulate
from crossdock.sync import Systems, extract, load, validate
from crossdock.sync.backfill import Only, backfill_request, days_to_run, midnight, missing
from crossdock.sync.model import WHOLE, Report, SyncRequest, Window
from tests.shop import in_hub, in_shop, query
from tests.streams import INVENTORY

FIRST, LAST = date(2026, 2, 1), date(2026, 2, 5)


def run(systems: Systems, request: SyncRequest) -> Report:
    return load(INVENTORY, systems, validate(INVENTORY, systems, extract(INVENTORY, systems, request)))


def wanted(systems: Systems, only: Only) -> list[date]:
    return days_to_run(systems.store, INVENTORY.lease(WHOLE), first=FIRST, last=LAST, only=only)


def test_nothing_is_missing_after_a_full_sync(systems: Systems) -> None:
    """0 runs, not thirty that change nothing."""
    assert len(wanted(systems, Only.MISSING)) == 5
    run(systems, SyncRequest(full=True))
    assert wanted(systems, Only.MISSING) == []
    assert len(wanted(systems, Only.ALL)) == 5


def test_a_day_that_was_read_is_not_missing_any_more(shop: FakeRetailer, systems: Systems) -> None:
    """So an interrupted backfill continues where it was."""
    report = run(systems, backfill_request("2026-02-02"))

    day = [row for row in shop.state.collection("inventory").rows() if row.modified_at.startswith("2026-02-02")]
    assert report.counts.inserted == len(day) > 0
    assert wanted(systems, Only.MISSING) == [date(2026, 2, 1), date(2026, 2, 3), date(2026, 2, 4), date(2026, 2, 5)]


def test_a_limited_run_covers_nothing(systems: Systems) -> None:
    """It stopped before the end of its window."""
    run(systems, SyncRequest(full=True, limit=100))

    assert len(wanted(systems, Only.MISSING)) == 5


def test_only_failed_days_are_read_when_requested(systems: Systems) -> None:
    from crossdock.sync import mark_failed  # noqa: PLC0415

    extract(INVENTORY, systems, backfill_request("2026-02-03"), dag_run_id="day-3")
    mark_failed(INVENTORY, systems.store, "day-3", "the source was down")
    run(systems, backfill_request("2026-02-04"))

    assert wanted(systems, Only.FAILED) == [date(2026, 2, 3)]


def test_older_data_never_overwrites_newer(shop: FakeRetailer, systems: Systems) -> None:
    """The day is read before a change, and loaded after the live sync has brought the change."""
    run(systems, SyncRequest(full=True))
    day = shop.state.collection("inventory").rows()[0].modified_at[:10]
    run_id = extract(INVENTORY, systems, backfill_request(day))
    simulate(shop.state, stock_moves=1_200)
    run(systems, SyncRequest(full=True))

    late = load(INVENTORY, systems, validate(INVENTORY, systems, run_id))

    assert late.counts.stale == late.counts.read > 0
    assert in_hub(systems.store) == in_shop(shop)


def test_a_backfill_leaves_the_watermark_and_notifies_no_subscriber(systems: Systems) -> None:
    """Its events are stored and can be replayed, but no subscriber receives last month's events."""
    run(systems, backfill_request("2026-02-02"))
    run(systems, backfill_request("2026-02-03", emit_events=True))

    assert query(systems.store, "SELECT count(*) FROM watermark") == [(0,)]
    silent = query(
        systems.store,
        "SELECT DISTINCT (data->>'last_modified_at')::timestamptz::date, silent FROM event ORDER BY 1",
    )
    assert silent == [(date(2026, 2, 2), True), (date(2026, 2, 3), False)]


def test_a_backfilled_day_and_the_live_sync_do_not_wait_for_each_other(systems: Systems) -> None:
    extract(INVENTORY, systems, SyncRequest())

    assert run(systems, backfill_request("2026-02-02")).counts.read > 0


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6)), max_size=6))
def test_a_day_is_missing_exactly_when_some_instant_of_it_was_not_read(spans: list[tuple[int, int]]) -> None:
    """Compared with the obvious way: each half day separately."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    half = (datetime(2026, 1, 2, tzinfo=UTC) - start) / 2
    windows = [Window(start + low * half, start + (low + length) * half) for low, length in spans]
    read = {low + step for low, length in spans for step in range(length)}
    days = [date(2026, 1, day) for day in range(1, 14)]

    expected = [day for number, day in enumerate(days) if not {2 * number, 2 * number + 1} <= read]

    assert missing(days, windows) == expected


@pytest.mark.parametrize("text", ["2026-02-30", "yesterday", ""])
def test_an_invalid_day_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="Use for example 2026-11-21"):
        backfill_request(text)


def test_days_that_end_before_they_begin_are_refused(systems: Systems) -> None:
    with pytest.raises(BadRequest, match="is before"):
        days_to_run(systems.store, INVENTORY.lease(WHOLE), first=LAST, last=FIRST, only=Only.ALL)
    assert midnight(FIRST).tzinfo is UTC


def test_a_day_in_the_future_is_refused(systems: Systems) -> None:
    """Its run would read nothing and call the day done."""
    with pytest.raises(BadRequest, match="future"):
        days_to_run(systems.store, INVENTORY.lease(WHOLE), first=FIRST, last=date(2999, 1, 1), only=Only.MISSING)
