"""Streams whose records, or whose share of rejected records, are not what they are at this hour of the week."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import NamedTuple

from crossdock.db.database import Work
from crossdock.db.leases import stream_id
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind

_WEEKS = 4
#: With fewer weeks, nobody knows what is usual.
_LEAST_WEEKS = 3
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class VolumeLimits:
    """How much a stream may differ from the weeks before."""

    #: So many times more, or less, than usual.
    factor: float = 3.0
    #: Differences of fewer records are chance.
    records: int = 100


class Volume(NamedTuple):
    """What the syncs of one stream read within an hour."""

    read: int
    rejected: int

    @property
    def rejected_share(self) -> float:
        return self.rejected / self.read if self.read else 0.0


#: Syncs that read what is new: not those of chosen records, of days of a backfill or of the quarantine. A full sync reads
#: more than others, and is compared with full ones.
_VOLUMES = b"""
SELECT integration, dataset, mode, hour, sum(read)::bigint, sum(rejected)::bigint
  FROM unnest(%(hours)s::timestamptz[]) AS hour
  JOIN sync_run ON finished_at >= hour AND finished_at < hour + interval '1 hour'
 WHERE state IN ('done', 'partial') AND moves_watermark
 GROUP BY integration, dataset, mode, hour
"""


def changed(work: Work, limits: VolumeLimits, now: datetime) -> dict[str, Found]:
    """
    Find the streams whose last full hour before *now* differs from the same hour of the weeks before, by their IDs.

    An alert lasts until an hour with a sync is as usual again: without a sync, there is nothing to compare.
    """
    hour = now.replace(minute=0, second=0, microsecond=0) - _HOUR
    found, compared = {}, set()
    for (integration, dataset, _), by_hour in _volumes(work, hour).items():
        stream = stream_id(integration, dataset)
        if hour not in by_hour:
            continue
        compared.add(stream)
        earlier = [volume for at, volume in by_hour.items() if at != hour]
        if len(earlier) >= _LEAST_WEEKS and (what := difference(by_hour[hour], earlier, limits)):
            message = f"{stream}, {hour:%a %H:%M} to {hour + _HOUR:%H:%M} UTC: {what}"
            found[stream] = Found(message, by_hour[hour].read, (), integration, stream)
    before = alerts.open_of(work, Kind.VOLUME_CHANGED)
    return {stream: what for stream, what in before.items() if stream not in compared} | found


def difference(volume: Volume, earlier: Sequence[Volume], limits: VolumeLimits) -> str:
    """Say how *volume* differs from the *earlier* ones; empty if it does not. Fewer rejected records are no news."""
    usual = median(each.read for each in earlier)
    if _differs(volume.read, usual, limits):
        return f"{volume.read:,} records were read; usually {usual:,.0f}"
    share = median(each.rejected_share for each in earlier)
    if volume.rejected > share * volume.read and _differs(volume.rejected, share * volume.read, limits):
        return f"{volume.rejected_share:.1%} of {volume.read:,} records were rejected; usually {share:.1%}"
    return ""


def _differs(number: float, usual: float, limits: VolumeLimits) -> bool:
    least, most = sorted((number, usual))
    return most - least >= limits.records and most > least * limits.factor


def _volumes(work: Work, hour: datetime) -> dict[tuple[str, str, str], dict[datetime, Volume]]:
    """Read what each stream read in each mode, in this *hour* and in that of the weeks before."""
    hours = [hour - timedelta(weeks=week) for week in range(_WEEKS + 1)]
    found: dict[tuple[str, str, str], dict[datetime, Volume]] = defaultdict(dict)
    rows: Iterable[tuple[str, str, str, datetime, int, int]] = work.execute(_VOLUMES, {"hours": hours})
    for integration, dataset, mode, at, read, rejected in rows:
        found[integration, dataset, mode][at] = Volume(read, rejected)
    return found
