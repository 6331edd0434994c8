"""How a run's window is cut into disjoint ranges. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from include.model.instants import utc_text
from include.model.reading import Axis, Range
from include.model.sync import Window

#: Below this a cut costs more requests than it saves.
_RECORDS_A_RANGE = 5_000
_MOST_RANGES = 16
#: Keys in one predicate; longer ones pass the length of a URL.
_KEYS_A_RANGE = 100


def by_id(records: int) -> list[Range]:
    """Everything, cut by the first two hexadecimal digits of the id. Ids of another shape still lie in exactly one."""
    cuts = _cuts(records)
    bounds = [None, *(f"{number * 256 // cuts:02x}" for number in range(1, cuts)), None]
    return [Range(range_no=no, axis=Axis.ID, low=low, high=high) for no, (low, high) in enumerate(pairwise(bounds))]


def by_time(window: Window, records: int) -> list[Range]:
    """*window* in equal spans; one span where it has no beginning."""
    high = utc_text(_next_tick(window.high))
    if window.low is None:
        return [Range(range_no=0, axis=Axis.TIME, low=None, high=high)]
    cuts = _cuts(records)
    step = (window.high - window.low) / cuts
    # To the millisecond, as the platform's instants are: a finer cut would fall between two of its ticks.
    bounds = [utc_text(window.low + number * step) for number in range(cuts)] + [high]
    return [Range(range_no=no, axis=Axis.TIME, low=low, high=up) for no, (low, up) in enumerate(pairwise(bounds))]


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
