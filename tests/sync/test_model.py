"""The rules that keep rows from being lost, tried a thousand ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crossdock.core.errors import BadRequest
from crossdock.sync.model import (
    Counts,
    Mode,
    RangeProgress,
    SyncRequest,
    Window,
    may_move,
    opening_low,
    opening_window,
    refuse_renamed,
    watermark_after,
)

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
OUTCOMES = ("inserted", "updated", "unchanged", "stale", "rejected", "held")

numbers = st.integers(0, 10_000)
counts = st.builds(Counts, read=numbers, **dict.fromkeys(OUTCOMES, numbers))
minutes = st.integers(0, 60).map(lambda minute: MIDNIGHT + timedelta(minutes=minute))


@given(st.lists(counts))
def test_counts_add_up_field_by_field(parts: list[Counts]) -> None:
    """The ledger is the sum of its batches, whatever their number."""
    total = sum(parts, Counts())

    for name in ("read", *OUTCOMES):
        assert getattr(total, name) == sum(getattr(part, name) for part in parts)
    assert total.accounted == sum(part.accounted for part in parts)


@given(counts)
def test_counts_balance_when_each_record_has_one_outcome_and_only_then(some: Counts) -> None:
    outcomes = sum(getattr(some, name) for name in OUTCOMES)

    assert some.balanced == (some.read == outcomes)
    assert msgspec.structs.replace(some, read=outcomes).balanced
    assert not msgspec.structs.replace(some, read=outcomes + 1).balanced


@given(counts, counts)
def test_the_sum_of_balanced_counts_is_balanced(one: Counts, other: Counts) -> None:
    one, other = (msgspec.structs.replace(some, read=some.accounted) for some in (one, other))

    assert (one + other).balanced


# What the source has, read in ranges of pages; which pages a crash left loaded is anybody's guess.


@st.composite
def interrupted_reads(draw: st.DrawFn) -> tuple[Window, list[RangeProgress], list[datetime]]:
    """A window, how far its ranges are loaded by the ledger, and the times of the records that are not."""
    low, high = MIDNIGHT, MIDNIGHT + timedelta(minutes=60)
    has_low = draw(st.booleans())
    cuts = sorted(draw(st.sets(st.integers(1, 59), max_size=4)))
    bounds = [low, *(MIDNIGHT + timedelta(minutes=cut) for cut in cuts), high]
    progress, still_open = [], []
    for number in range(len(bounds) - 1):
        start, end = bounds[number], bounds[number + 1]
        records = sorted(draw(st.lists(st.sampled_from(_minutes(start, end)), max_size=12)))
        size = draw(st.integers(1, 4))
        pages = [records[first : first + size] for first in range(0, len(records), size)]
        landed = draw(st.integers(0, len(pages)))
        loaded = draw(st.sets(st.integers(0, max(landed - 1, 0)), max_size=landed)) if landed else set()
        without_a_gap = next((page for page in range(landed) if page not in loaded), landed)
        still_open += [at for page, instants in enumerate(pages) if page not in loaded for at in instants]
        progress.append(
            RangeProgress(
                low=start if number or has_low else None,
                loaded_to=pages[without_a_gap - 1][-1] if without_a_gap else None,
                done=landed == len(pages) == len(loaded),
            )
        )
    return Window(low if has_low else None, high), draw(st.permutations(progress)), still_open


def _minutes(start: datetime, end: datetime) -> list[datetime]:
    return [start + timedelta(minutes=number) for number in range(int((end - start).total_seconds() // 60))]


@given(interrupted_reads())
def test_the_watermark_never_passes_a_record_that_is_still_open(
    case: tuple[Window, list[RangeProgress], list[datetime]],
) -> None:
    """A delta reads from the watermark on: what is open below it would never be read again."""
    window, progress, still_open = case

    reached = watermark_after(window, progress)

    assert reached is None or all(at >= reached for at in still_open)
    assert reached is None or reached <= window.high


@given(interrupted_reads())
def test_a_window_that_is_wholly_loaded_moves_the_watermark_to_its_end(
    case: tuple[Window, list[RangeProgress], list[datetime]],
) -> None:
    """A watermark that stays behind would read everything again, for ever."""
    window, progress, _ = case
    done = [msgspec.structs.replace(part, done=True) for part in progress]

    assert watermark_after(window, done) == window.high


def test_an_open_range_without_a_beginning_lets_nothing_move() -> None:
    """Ranges by id and by key say nothing about instants."""
    window = Window(MIDNIGHT, MIDNIGHT + timedelta(hours=1))
    by_key = RangeProgress(low=None, loaded_to=None, done=False)
    by_time = RangeProgress(low=MIDNIGHT, loaded_to=MIDNIGHT + timedelta(minutes=5), done=False)

    assert watermark_after(window, [by_time, by_key]) is None


@given(st.none() | minutes, minutes, st.none() | minutes, st.none() | minutes)
def test_the_watermark_moves_only_forward_and_never_over_a_gap(
    low: datetime | None, high: datetime, current: datetime | None, reached: datetime | None
) -> None:
    assume(low is None or low <= high)

    moved = may_move(Window(low, high), current, reached)

    if moved:
        assert reached is not None
        assert current is None or reached > current
        assert low is None or (current is not None and low <= current)


@given(st.lists(st.tuples(st.none() | minutes, minutes, st.booleans()), max_size=8))
def test_any_order_of_runs_leaves_a_watermark_below_which_all_was_loaded(
    runs: list[tuple[datetime | None, datetime, bool]],
) -> None:
    """Full reads, deltas and backfills in any order, some of them killed before the end."""
    mark, loaded = None, set[datetime]()
    for low, high, survives in runs:
        window = Window(low, high)
        everything = {at for at in _minutes(MIDNIGHT, high) if low is None or at >= low}
        if survives:
            loaded |= everything
        progress = RangeProgress(low=low, loaded_to=None, done=survives)
        reached = watermark_after(window, [progress])
        if may_move(window, mark, reached):
            mark = reached
        assert mark is None or set(_minutes(MIDNIGHT, mark)) <= loaded


@given(st.none() | minutes, st.timedeltas(timedelta(0), timedelta(hours=1)))
def test_a_delta_opens_an_overlap_before_the_watermark_and_all_else_where_it_was_requested(
    mark: datetime | None, overlap: timedelta
) -> None:
    assert opening_low(SyncRequest(), watermark=mark, overlap=overlap) == (mark - overlap if mark else None)
    assert opening_low(SyncRequest(full=True), watermark=mark, overlap=overlap) is None
    assert opening_low(SyncRequest(since=MIDNIGHT), watermark=mark, overlap=overlap) == MIDNIGHT
    assert opening_low(SyncRequest(until=MIDNIGHT), watermark=mark, overlap=overlap) is None


@given(st.none() | minutes, minutes)
def test_a_window_never_reaches_beyond_the_sources_own_now(until: datetime | None, now: datetime) -> None:
    """What the source has not lived yet cannot have been read."""
    window = opening_window(SyncRequest(until=until), low=None, source_now=now)

    assert window.high == min(until or now, now)


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"full": True, "since": "2026-11-21T00:00:00Z"}, "full"),
        ({"full": True, "until": "2026-11-21T00:00:00Z"}, "full"),
        ({"full": True, "keys": ["A"]}, "full"),
        ({"keys": ["A"], "since": "2026-11-21T00:00:00Z"}, "keys"),
        ({"keys": ["A"], "until": "2026-11-21T00:00:00Z"}, "keys"),
        ({"since": "2026-11-21T00:00:00Z", "until": "2026-11-21T00:00:00Z"}, "since"),
        ({"since": "2026-11-22T00:00:00Z", "until": "2026-11-21T00:00:00Z"}, "since"),
        ({"since": "2026-11-21T00:00:00"}, "since"),
        ({"until": "2026-11-21T00:00:00"}, "until"),
        ({"since": "yesterday"}, "since"),
        ({"limit": -1}, "limit"),
        ({"limit": "5"}, "limit"),
        ({"full": "yes"}, "full"),
        ({"keys": "A,B"}, "keys"),
        ({"keys": [1]}, "keys"),
        ({"keys": ["A", ""]}, "keys"),
        ({"ful": True}, "ful"),
        ({"mode": "full"}, "mode"),
    ],
)
def test_a_request_that_cannot_be_names_the_field(document: dict[str, object], named: str) -> None:
    """The message names what to change."""
    with pytest.raises(BadRequest, match=named):
        SyncRequest.of(document)


@pytest.mark.parametrize(
    ("document", "mode", "moves"),
    [
        ({}, Mode.DELTA, True),
        ({"full": True}, Mode.FULL, True),
        ({"full": True, "allow_shrink": True}, Mode.FULL, True),
        ({"full": True, "limit": 5}, Mode.FULL, False),
        ({"keys": ["A"]}, Mode.KEYS, False),
        ({"since": "2026-11-21T00:00:00+01:00"}, Mode.WINDOW, True),
        ({"until": "2026-11-21T00:00:00Z"}, Mode.WINDOW, False),
        ({"limit": 5}, Mode.DELTA, False),
    ],
)
def test_the_request_decides_the_mode_and_if_the_watermark_moves(
    document: dict[str, object], mode: Mode, moves: bool
) -> None:
    """A backfill, named keys and a limit read only a part."""
    request = SyncRequest.of(document)

    assert (request.mode, request.moves_watermark) == (mode, moves)
    assert SyncRequest.of(msgspec.to_builtins(request)) == request


@pytest.mark.parametrize(
    ("old", "new"),
    [({"part": "1/2"}, "shard"), ({"accept_shrunken": True}, "allow_shrink"), ({"tell": True}, "emit_events")],
)
def test_a_field_under_its_old_name_is_refused_with_the_new_one(old: dict[str, object], new: str) -> None:
    """In the form, in `conf` over REST, and beside the field of today."""
    (name,) = old
    with pytest.raises(BadRequest, match=f"`{name}` is now `{new}`: rename it"):
        SyncRequest.of({"full": True, **old})
    with pytest.raises(BadRequest, match=f"`{name}` is now `{new}`"):
        refuse_renamed({"emit_events": False, **old})
