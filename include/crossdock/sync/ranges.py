"""How a run's window is cut into disjoint ranges. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from crossdock.core.instants import utc_text
from crossdock.sync.model import Window, id_cut
from crossdock.sync.source import Axis, Range

#: Each range has one page in flight at a time; below this its last, shorter page costs more than that saves.
_RECORDS_A_RANGE = 1_250
_MOST_RANGES = 16
#: Keys in one predicate; longer ones pass the length of a URL.
_KEYS_A_RANGE = 100


#: low < id ≤ high; None for no bound.
Ids = tuple[str | None, str | None]
_ALL: Ids = (None, None)


def by_id(records: int, share: tuple[int, int] = (1, 1)) -> list[Range]:
    """
    Everything, or the so-manieth of so many equal parts of it, cut by the first two hexadecimal digits of the id.

    *records* is how many there are in all. Ids of another shape still lie in exactly one range.
    """
    number, of = share
    cuts = _cuts(records // of)
    bounds = [id_cut((number - 1) * cuts + step, of * cuts) for step in range(cuts + 1)]
    return [Range(range_no=no, axis=Axis.ID, low=low, high=high) for no, (low, high) in enumerate(pairwise(bounds))]


def by_time(window: Window, records: int, ids: Ids = _ALL) -> list[Range]:
    """*window* of *ids* in equal spans; one span where it has no beginning."""
    id_low, id_high = ids
    high = utc_text(_next_tick(window.high))
    if window.low is None:
        return [Range(range_no=0, axis=Axis.TIME, low=None, high=high, id_low=id_low, id_high=id_high)]
    cuts = _cuts(records)
    step = (window.high - window.low) / cuts
    # To the millisecond, as the platform's instants are: a finer cut would fall between two of its ticks.
    bounds = [utc_text(window.low + number * step) for number in range(cuts)] + [high]
    return [
        Range(range_no=no, axis=Axis.TIME, low=low, high=up, id_low=id_low, id_high=id_high)
        for no, (low, up) in enumerate(pairwise(bounds))
    ]


def _next_tick(instant: datetime) -> datetime:
    """The millisecond at or after *instant*: a record of the millisecond that it lies in is before it."""
    return instant + timedelta(microseconds=-instant.microsecond % 1000)


def by_keys(field: str, keys: Sequence[str], *, first_no: int = 0) -> list[Range]:
    """Named records."""
    unique = sorted(set(keys))
    return [
        Range(range_no=no, axis=Axis.KEYS, field=field, keys=tuple(unique[start : start + _KEYS_A_RANGE]))
        for no, start in enumerate(range(0, len(unique), _KEYS_A_RANGE), start=first_no)
    ]


def _cuts(records: int) -> int:
    return max(1, min(_MOST_RANGES, records // _RECORDS_A_RANGE))
