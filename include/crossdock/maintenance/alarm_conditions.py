"""What is wrong now, as the store shows it. Each question only reads, and may be asked at any time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from crossdock.db.database import Work


class Unread(msgspec.Struct, frozen=True):
    """A key partition that nobody reads though it has events."""

    subscriber: str
    partition: int
    since_s: float


class Refused(msgspec.Struct, frozen=True):
    """Webhooks that were not proved to be their sender's."""

    integration: str
    times: int
    #: What was wrong with most of them.
    reason: str


_DEAD = b"""
SELECT subscriber, coalesce(cause, 'unknown'), count(*) FROM dead_letter WHERE state = 'dead'
 GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2
"""

#: A reader that was given back has no end of its lease; its cursor was kept in the moment before.
_UNREAD = b"""
SELECT partition, extract(epoch FROM clock_timestamp() - left_at)::float8 FROM (
    SELECT *, CASE WHEN expires_at > '-infinity' THEN greatest(expires_at, moved_at) ELSE moved_at END AS left_at
      FROM event_consumer WHERE subscriber = %(subscriber)s AND expires_at < clock_timestamp()) AS reader
 WHERE left_at < clock_timestamp() - %(longer_than)s
   AND EXISTS (SELECT FROM event
                WHERE (event.epoch, event.xid, event.position) > (reader.epoch, reader.xid, reader.position)
                  AND NOT silent AND type = ANY(%(types)s)
                  AND (hashtext(partition_key) & 2147483647) %% reader.partitions = reader.partition)
 ORDER BY partition
"""

#: From when it left `closed`: half open it lets one call through, and is not well yet.
_BROKEN = b"""
SELECT integration, extract(epoch FROM clock_timestamp() - since)::float8 FROM (
    SELECT integration, coalesce((SELECT max(at) FROM breaker_change change
                                   WHERE change.integration = breaker.integration AND from_phase = 'closed'),
                                 changed_at) AS since
      FROM breaker WHERE state->>'phase' <> 'closed') AS broken
 WHERE since < clock_timestamp() - %(longer_than)s ORDER BY integration
"""

_REFUSED = b"""
SELECT integration, sum(times)::bigint, (array_agg(reason ORDER BY times DESC))[1] FROM refused_webhook
 WHERE hour >= date_trunc('hour', clock_timestamp(), 'UTC') - interval '1 hour'
   AND last_at > clock_timestamp() - interval '1 hour'
 GROUP BY integration HAVING sum(times) >= %(at_least)s ORDER BY integration
"""

#: A DAG run that never came to the ledger, because it failed before that, is not waited for after a day.
_STILL_LATE = b"""
SELECT subject, message FROM alert
 WHERE kind = 'run_late' AND closed_at IS NULL
   AND (EXISTS (SELECT FROM sync_run WHERE state = 'running' AND dag_id || '/' || dag_run_id = subject)
        OR at > clock_timestamp() - interval '1 day'
           AND NOT EXISTS (SELECT FROM sync_run WHERE dag_id || '/' || dag_run_id = subject))
"""


def dead_letters(work: Work) -> dict[str, dict[str, int]]:
    """Subscriber → cause → dead letters, most first."""
    found: dict[str, dict[str, int]] = {}
    for subscriber, cause, number in work.execute(_DEAD):
        found.setdefault(subscriber, {})[cause] = number
    return found


def unread(work: Work, subscriber: str, types: Sequence[str], longer_than: timedelta) -> list[Unread]:
    """Partitions of *subscriber* without a live reader for so long, in which an event waits."""
    values = {"subscriber": subscriber, "types": list(types), "longer_than": longer_than}
    return [Unread(subscriber, partition, since_s) for partition, since_s in work.execute(_UNREAD, values)]


def broken(work: Work, longer_than: timedelta) -> dict[str, float]:
    """Integration → for how many seconds its breaker has not been closed, where that is so long."""
    return dict(work.execute(_BROKEN, {"longer_than": longer_than}).fetchall())


def refused_webhooks(work: Work, at_least: int) -> list[Refused]:
    """Integrations of which so many webhooks were refused within the hour."""
    return [Refused(*row) for row in work.execute(_REFUSED, {"at_least": at_least})]


def still_late(work: Work) -> dict[str, str]:
    """What of the open alerts of late runs is still so: subject (`dag/run`) → message."""
    return dict(work.execute(_STILL_LATE).fetchall())
