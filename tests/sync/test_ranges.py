"""Ranges are disjoint and complete: each record lies in exactly one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.core.instants import from_utc_text, utc_text
from crossdock.core.limits import MAX_SHARDS
from crossdock.sync.model import Window
from crossdock.sync.ranges import by_id, by_keys, by_time
from crossdock.sync.source import Axis, Range

OPENING = datetime(2026, 11, 21, tzinfo=UTC)
sizes = st.integers(0, 1_000_000)
instants = st.integers(0, 10**10).map(lambda microseconds: OPENING + timedelta(microseconds=microseconds))
#: The source's timestamps have milliseconds.
ticks = st.integers(-1_000, 10**7 + 1_000).map(lambda number: OPENING + timedelta(milliseconds=number))


def holds_id(part: Range, record_id: str) -> bool:
    return (part.low is None or part.low < record_id) and (part.high is None or record_id <= part.high)


def holds_instant(part: Range, at: datetime) -> bool:
    low, high = part.low and from_utc_text(part.low), part.high and from_utc_text(part.high)
    return (not low or low <= at) and (not high or at < high)


@given(sizes, st.text(st.characters(codec="utf-8"), min_size=1) | st.uuids().map(str))
def test_every_id_lies_in_exactly_one_range(records: int, record_id: str) -> None:
    """Ids of any shape: a source's ids are opaque."""
    assert sum(holds_id(part, record_id) for part in by_id(records)) == 1


@given(sizes, st.text(st.characters(codec="utf-8"), min_size=1) | st.uuids().map(str), st.integers(1, MAX_SHARDS))
def test_every_id_lies_in_exactly_one_range_of_all_shards(records: int, record_id: str, of: int) -> None:
    """Workers that share a sync must leave no id between them."""
    parts = [part for number in range(1, of + 1) for part in by_id(records, (number, of))]

    assert sum(holds_id(part, record_id) for part in parts) == 1


@given(instants, instants, sizes, ticks)
def test_every_instant_of_the_window_lies_in_exactly_one_range(
    one: datetime, other: datetime, records: int, at: datetime
) -> None:
    """Bounds may be finer than the source's clock; a record at the edge is still read once."""
    window = Window(min(one, other), max(one, other))
    holding = sum(holds_instant(part, at) for part in by_time(window, records))

    assert holding <= 1
    if window.low is not None and window.low <= at < window.high:
        assert holding == 1


@given(instants, instants, sizes, ticks)
def test_an_open_ended_read_holds_every_later_instant_once(
    one: datetime, other: datetime, records: int, at: datetime
) -> None:
    """A clock that was ahead dated records after the window's end."""
    window = Window(min(one, other), max(one, other))
    holding = sum(holds_instant(part, at) for part in by_time(window, records, open_ended=True))

    assert holding == int(at >= from_utc_text(utc_text(min(one, other))))


@given(instants, sizes, ticks)
def test_a_window_without_a_beginning_is_one_range(high: datetime, records: int, at: datetime) -> None:
    (part,) = by_time(Window(None, high), records)

    assert part.low is None
    if at < high:
        assert holds_instant(part, at)


@given(sizes)
def test_ranges_are_numbered_in_reading_order_and_few(records: int) -> None:
    """The pages of a run are in the order of their ranges' numbers."""
    for parts in (by_id(records), by_time(Window(OPENING, OPENING + timedelta(days=1)), records)):
        assert [part.range_no for part in parts] == list(range(len(parts)))
        assert [part.low for part in parts] == sorted((part.low for part in parts), key=lambda low: low or "")
        assert 1 <= len(parts) <= 16


@pytest.mark.parametrize(("records", "cuts"), [(0, 1), (2_499, 1), (2_500, 2), (20_000, 16), (10**9, 16)])
def test_only_a_large_read_is_cut(records: int, cuts: int) -> None:
    """A cut costs a request; it must save some."""
    assert len(by_id(records)) == cuts


@given(st.lists(st.text(min_size=1), max_size=350), st.integers(0, 5))
def test_named_keys_are_each_requested_once_a_hundred_at_a_time(keys: Sequence[str], first_no: int) -> None:
    """A predicate with more keys is longer than a URL may be."""
    parts = by_keys("sku", keys, first_no=first_no)

    assert sorted(key for part in parts for key in part.keys) == sorted(set(keys))
    assert all(part.axis is Axis.KEYS and part.field == "sku" and 1 <= len(part.keys) <= 100 for part in parts)
    assert [part.range_no for part in parts] == list(range(first_no, first_no + len(parts)))
