"""Cut a run's window into disjoint ranges. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from crossdock.core.instants import utc_text
from crossdock.sync.model import Window, id_cut
from crossdock.sync.source import Axis, Range

#: Each range has one page in flight at a time; in smaller ranges, the last and shorter page costs more than it saves.
_RECORDS_PER_RANGE = 1_250
_MAX_RANGES = 16
#: Keys in one predicate; with more, the URL would be too long.
_KEYS_PER_RANGE = 100


#: low < id ≤ high; None for no bound.
Ids = tuple[str | None, str | None]
_ALL: Ids = (None, None)


def by_id(records: int, shard: tuple[int, int] = (1, 1)) -> list[Range]:
    """
    Cut all records, or the n-th of m equal shards, by the first two hexadecimal digits of the id.

    *records* is the number of all records. An id of another shape is still in exactly one range.
    """
    number, of = shard
    cuts = _cuts(records // of)
    bounds = [id_cut((number - 1) * cuts + step, of * cuts) for step in range(cuts + 1)]
    return [Range(range_no=no, axis=Axis.ID, low=low, high=high) for no, (low, high) in enumerate(pairwise(bounds))]


def by_time(window: Window, records: int, ids: Ids = _ALL, *, open_ended: bool = False) -> list[Range]:
    """
    Cut *window*, restricted to *ids*, into equal spans; one span if it has no beginning.

    The last span has no end if it is *open_ended*.
    """
    id_low, id_high = ids
    high = None if open_ended else utc_text(_next_tick(window.high))
    if window.low is None:
        return [Range(range_no=0, axis=Axis.TIME, low=None, high=high, id_low=id_low, id_high=id_high)]
    cuts = _cuts(records)
    step = (window.high - window.low) / cuts
    # To the millisecond, like the instants of the source: a finer bound would fall between two of its ticks.
    bounds = [*(utc_text(window.low + number * step) for number in range(cuts)), high]
    return [
        Range(range_no=no, axis=Axis.TIME, low=low, high=up, id_low=id_low, id_high=id_high)
        for no, (low, up) in enumerate(pairwise(bounds))
    ]


def _next_tick(instant: datetime) -> datetime:
    """Round *instant* up to a millisecond, so that a record of the same millisecond is before it."""
    return instant + timedelta(microseconds=-instant.microsecond % 1000)


def by_keys(field: str, keys: Sequence[str], *, first_no: int = 0) -> list[Range]:
    """Split named records into ranges of keys."""
    unique = sorted(set(keys))
    return [
        Range(range_no=no, axis=Axis.KEYS, field=field, keys=tuple(unique[start : start + _KEYS_PER_RANGE]))
        for no, start in enumerate(range(0, len(unique), _KEYS_PER_RANGE), start=first_no)
    ]


def _cuts(records: int) -> int:
    return max(1, min(_MAX_RANGES, records // _RECORDS_PER_RANGE))
