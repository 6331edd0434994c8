"""
Durations as counts in buckets that grow by a fifth, so that workers can add theirs up.

A quantile read from them is right to within ten per cent, from a millisecond to three minutes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

BUCKETS = 72
_SHORTEST_S = 0.001
_PER_DOUBLING = 4


def bucket_of(seconds: float) -> int:
    """The bucket that *seconds* falls into; the first and the last take what is beyond."""
    if seconds <= _SHORTEST_S:
        return 0
    return min(int(math.log2(seconds / _SHORTEST_S) * _PER_DOUBLING) + 1, BUCKETS - 1)


def quantile_s(counts: Sequence[int], share: float) -> float | None:
    """The duration that *share* of the counted stay below, None where nothing was counted."""
    total = sum(counts)
    if not total:
        return None
    reached, wanted = 0, share * total
    for bucket, count in enumerate(counts):
        reached += count
        if count and reached >= wanted:
            return _middle_s(bucket)
    return _middle_s(BUCKETS - 1)


def _middle_s(bucket: int) -> float:
    return float(_SHORTEST_S * 2.0 ** ((bucket - 0.5) / _PER_DOUBLING))
