"""Durations in buckets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.core.durations import BUCKETS, bucket_of, quantile_s


def counted(durations: list[float]) -> list[int]:
    counts = [0] * BUCKETS
    for seconds in durations:
        counts[bucket_of(seconds)] += 1
    return counts


def test_nothing_counted_has_no_quantile() -> None:
    """Zero seconds would look like a very quick system."""
    assert quantile_s([0] * BUCKETS, 0.5) is None


@given(st.lists(st.floats(0.001, 150), min_size=1, max_size=60), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_quantile_is_right_to_within_ten_per_cent(durations: list[float], share: float) -> None:
    at = next(place for place in range(1, len(durations) + 1) if place >= share * len(durations))

    assert quantile_s(counted(durations), share) == pytest.approx(sorted(durations)[at - 1], rel=0.1)


@given(st.lists(st.floats(0, 1e9), max_size=30), st.lists(st.floats(0, 1e9), max_size=30))
def test_the_counts_of_two_workers_add_up(mine: list[float], more: list[float]) -> None:
    together = [a + b for a, b in zip(counted(mine), counted(more), strict=True)]

    assert together == counted(mine + more)
