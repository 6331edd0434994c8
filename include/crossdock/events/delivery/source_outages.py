"""Paused sources of a subscriber, shared by all its consumers; one consumer at a time probes whether an outage is over."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from crossdock.db.database import Work
from crossdock.events.dead_letters.repository import Failure
from crossdock.events.delivery.consumer_leases import Claim

#: A consumer that notices the same outage later changes nothing: the probe of the first one is scheduled.
_BEGIN = b"""
INSERT INTO source_outage (subscriber, source, cause, reason, next_probe_at)
VALUES (%(subscriber)s, %(source)s, %(cause)s, %(reason)s, clock_timestamp() + %(wait)s)
ON CONFLICT (subscriber, source) DO NOTHING
"""

_PAUSED = b"SELECT source, cause, reason FROM source_outage WHERE subscriber = %(subscriber)s"

#: Only a consumer with a head-of-line event of the source can probe it. Another may probe when the result of this one
#: has not come within *life*.
_PROBE = b"""
UPDATE source_outage taken SET next_probe_at = clock_timestamp() + %(life)s, probes = taken.probes + 1
  FROM (SELECT subscriber, source FROM source_outage outage
         WHERE subscriber = %(subscriber)s AND next_probe_at <= clock_timestamp()
           AND EXISTS (SELECT FROM dead_letter
                        WHERE dead_letter.subscriber = %(subscriber)s AND dead_letter.partition = %(partition)s
                          AND dead_letter.state IN ('trying', 'retrying', 'waiting') AND dead_letter.source = outage.source
                          AND NOT EXISTS (SELECT FROM dead_letter earlier
                                           WHERE earlier.subscriber = dead_letter.subscriber
                                             AND earlier.partition = dead_letter.partition
                                             AND earlier.partition_key = dead_letter.partition_key
                                             AND earlier.state IN ('trying', 'retrying', 'waiting')
                                             AND (earlier.epoch, earlier.xid, earlier.position)
                                                 < (dead_letter.epoch, dead_letter.xid, dead_letter.position)))
         ORDER BY next_probe_at LIMIT 1 FOR UPDATE SKIP LOCKED) AS due
 WHERE taken.subscriber = due.subscriber AND taken.source = due.source
RETURNING taken.source, taken.probes
"""

_RESCHEDULE = b"""
UPDATE source_outage SET cause = %(cause)s, reason = %(reason)s, next_probe_at = clock_timestamp() + %(wait)s
 WHERE subscriber = %(subscriber)s AND source = %(source)s
"""

_END = b"DELETE FROM source_outage WHERE subscriber = %(subscriber)s AND source = %(source)s"

#: An outage begins in the transaction of the events that wait for it. Without such events the source is not probed.
_END_IDLE = b"""
DELETE FROM source_outage outage
 WHERE NOT EXISTS (SELECT FROM dead_letter
                    WHERE dead_letter.subscriber = outage.subscriber AND dead_letter.source = outage.source
                      AND dead_letter.state IN ('trying', 'retrying', 'waiting'))
"""

_PROBE_NOW = b"UPDATE source_outage SET next_probe_at = clock_timestamp() WHERE cause = %(cause)s"

_PROBE_SOURCE = b"UPDATE source_outage SET next_probe_at = clock_timestamp() WHERE source = %(source)s"

_LIST = b"""
SELECT subscriber, source, cause, reason, since, next_probe_at FROM source_outage ORDER BY subscriber, source
"""


class SourceOutage(msgspec.Struct, frozen=True, kw_only=True):
    """A source that is paused for a subscriber because it does not answer, as a person sees it."""

    source: str
    #: The type of the error that the last probe met.
    cause: str
    reason: str
    since: datetime
    next_probe_at: datetime


class Probe(NamedTuple):
    """The right to call a paused source once, for a while."""

    source: str
    #: The number of probes of this outage, this one included.
    probes: int


def begin(work: Work, subscriber: str, source: str, failure: Failure, wait: timedelta) -> bool:
    """Pause *source* for *subscriber* and schedule a probe in *wait*. False where the outage was known already."""
    return work.execute(_BEGIN, {**_of(subscriber, source, failure), "wait": wait}).rowcount == 1


def paused(work: Work, subscriber: str) -> dict[str, Failure]:
    """Select the paused sources of *subscriber*, each with its last failure."""
    rows = work.execute(_PAUSED, {"subscriber": subscriber}, prepare=True)
    return {source: Failure(cause=cause, reason=reason) for source, cause, reason in rows}


def list_all(work: Work) -> dict[str, list[SourceOutage]]:
    """List the source outages by subscriber."""
    found: dict[str, list[SourceOutage]] = {}
    for subscriber, *values in work.execute(_LIST):
        fields = dict(zip(SourceOutage.__struct_fields__, values, strict=True))
        found.setdefault(subscriber, []).append(SourceOutage(**fields))
    return found


def claim_probe(work: Work, claim: Claim, life: timedelta) -> Probe | None:
    """Claim the probe of a source that is due and has events in *claim*, for *life*; None when none is due."""
    values = {"subscriber": claim.subscriber, "partition": claim.partition, "life": life}
    row = work.execute(_PROBE, values, prepare=True).fetchone()
    return Probe(*row) if row else None


def reschedule(work: Work, subscriber: str, source: str, failure: Failure, wait: timedelta) -> None:
    """Schedule the next probe in *wait*: the outage is not over."""
    work.execute(_RESCHEDULE, {**_of(subscriber, source, failure), "wait": wait})


def end(work: Work, subscriber: str, source: str) -> None:
    """End the outage: *source* has answered, and its events may be retried."""
    work.execute(_END, {"subscriber": subscriber, "source": source})


def end_idle(work: Work) -> None:
    """End outages that no event waits for, because a person has closed all of them: the next event finds out."""
    work.execute(_END_IDLE)


def probe_now(work: Work, cause: str) -> None:
    """Probe at once the sources that are paused because of *cause*."""
    work.execute(_PROBE_NOW, {"cause": cause})


def probe_source_now(work: Work, source: str) -> None:
    """Probe *source* at once, if it is paused: somebody has changed how it is called."""
    work.execute(_PROBE_SOURCE, {"source": source})


def _of(subscriber: str, source: str, failure: Failure) -> dict[str, object]:
    return {"subscriber": subscriber, "source": source, "cause": failure.cause, "reason": failure.reason}
