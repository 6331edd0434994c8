"""Seconds from a fault until each thing worked again, from what was recorded. Pure; all times are of `time.time`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from crossdock.bench.faults.load import Change, Sent

#: A pause in what arrives that is longer than this is the fault's, and not chance.
_GAP_S = 6.0
#: The last webhooks must have been taken for so long.
_CALM_S = 3.0


def webhook_s(sent: Sequence[Sent], began: float, now: float) -> float | None:
    """Find when webhooks were taken again: 0 where none was refused; None where they still are, or none was sent."""
    since = [one for one in sent if one.at >= began]
    failed = max((one.answered_at for one in since if not one.is_taken), default=None)
    if failed is None:
        return 0.0 if since else None
    taken = [one.answered_at for one in since if one.is_taken and one.answered_at > failed]
    return min(taken) - began if taken and now - failed > _CALM_S else None


def record_s(arrived: Mapping[Change, float], began: float, since: float) -> float | None:
    """
    Find when changes arrived again: the end of the longest pause, or the first arrival where none was long.

    None before a change has arrived that was made after *since*, the end of the fault where it has one of its own.
    """
    if not any(change.at >= since for change in arrived):
        return None
    times = sorted(at for at in arrived.values() if at >= began)
    longest, end = max((later - earlier, later) for earlier, later in pairwise([began, *times]))
    return (end if longest > _GAP_S else times[0]) - began


def sync_s(syncs: Iterable[tuple[float, float]], began: float, since: float) -> float | None:
    """Find when a sync had ended well that began after *since*; *syncs* are beginnings and ends."""
    ended = [end for start, end in syncs if start >= since + 1]
    return min(ended) - began if ended else None
