"""Instants travel as text and come back as they were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.core.instants import from_utc_text, utc_text

zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
aware = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=zones)  # noqa: DTZ001  the zone is drawn


@given(aware)
def test_an_instant_comes_back_from_its_text_to_the_millisecond(instant: datetime) -> None:
    back = from_utc_text(utc_text(instant))

    assert timedelta(0) <= instant - back < timedelta(milliseconds=1)
    assert back.tzinfo is UTC


@given(aware, aware)
def test_texts_sort_as_their_instants_do(one: datetime, other: datetime) -> None:
    """Cursors and ranges are compared as text by the source."""
    if utc_text(one) < utc_text(other):
        assert one < other


def test_an_instant_reads_as_people_and_platforms_expect() -> None:
    assert utc_text(datetime(2026, 11, 21, 2, 17, 45, 120_999, timezone(timedelta(hours=1)))) == (
        "2026-11-21T01:17:45.120Z"
    )


@pytest.mark.parametrize("text", ["2026-11-21T00:00:00", "2026-11-21 00:00"])
def test_text_without_a_zone_is_refused(text: str) -> None:
    """Nobody knows which midnight it means."""
    with pytest.raises(ValueError, match="time zone"):
        from_utc_text(text)


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        utc_text(datetime(2026, 11, 21))  # noqa: DTZ001  naive on purpose


def test_a_plain_day_is_its_midnight_in_utc() -> None:
    """What people type; there is no other midnight that they could mean here."""
    assert from_utc_text("2026-11-21") == datetime(2026, 11, 21, tzinfo=UTC)
