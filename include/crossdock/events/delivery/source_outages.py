"""Sources that a subscriber cannot ask now: shared by all its readers, of whom one at a time asks whether it is over."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from crossdock.db.database import Work
from crossdock.events.dead_letters.repository import Failure
from crossdock.events.delivery.consumer_leases import Claim

#: Whoever finds out later changes nothing: the first one's probe is on its way.
_BEGIN = b"""
INSERT INTO source_outage (subscriber, source, cause, reason, next_probe_at)
VALUES (%(subscriber)s, %(source)s, %(cause)s, %(reason)s, clock_timestamp() + %(wait)s)
ON CONFLICT (subscriber, source) DO NOTHING
"""

_OUT = b"SELECT source, cause, reason FROM source_outage WHERE subscriber = %(subscriber)s"

#: Only who has a letter of the source, the first of its key, can ask. The next one may when this one has not come back
#: within *life*.
_PROBE = b"""
UPDATE source_outage taken SET next_probe_at = clock_timestamp() + %(life)s, probes = taken.probes + 1
  FROM (SELECT subscriber, source FROM source_outage outage
         WHERE subscriber = %(subscriber)s AND next_probe_at <= clock_timestamp()
           AND EXISTS (SELECT FROM dead_letter letter
                        WHERE letter.subscriber = %(subscriber)s AND letter.partition = %(partition)s
                          AND letter.state IN ('trying', 'retrying', 'waiting') AND letter.source = outage.source
                          AND NOT EXISTS (SELECT FROM dead_letter earlier
                                           WHERE earlier.subscriber = letter.subscriber
                                             AND earlier.partition = letter.partition
                                             AND earlier.partition_key = letter.partition_key
                                             AND earlier.state IN ('trying', 'retrying', 'waiting')
                                             AND (earlier.epoch, earlier.xid, earlier.position)
                                                 < (letter.epoch, letter.xid, letter.position)))
         ORDER BY next_probe_at LIMIT 1 FOR UPDATE SKIP LOCKED) AS due
 WHERE taken.subscriber = due.subscriber AND taken.source = due.source
RETURNING taken.source, taken.probes
"""

_PUT_OFF = b"""
UPDATE source_outage SET cause = %(cause)s, reason = %(reason)s, next_probe_at = clock_timestamp() + %(wait)s
 WHERE subscriber = %(subscriber)s AND source = %(source)s
"""

_END = b"DELETE FROM source_outage WHERE subscriber = %(subscriber)s AND source = %(source)s"

#: It begins in the transaction of what waits for it. Without that nobody asks whether it is over.
_END_IDLE = b"""
DELETE FROM source_outage outage
 WHERE NOT EXISTS (SELECT FROM dead_letter letter
                    WHERE letter.subscriber = outage.subscriber AND letter.source = outage.source
                      AND letter.state IN ('trying', 'retrying', 'waiting'))
"""

_HASTEN = b"UPDATE source_outage SET next_probe_at = clock_timestamp() WHERE cause = %(cause)s"


_STANDINGS = b"""
SELECT subscriber, source, cause, reason, since, next_probe_at FROM source_outage ORDER BY subscriber, source
"""


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """A source that a subscriber cannot ask, as a person sees it."""

    source: str
    #: What the last one said that asked.
    cause: str
    reason: str
    since: datetime
    next_probe_at: datetime


class Probe(NamedTuple):
    """The right to ask a source that is out, for a while."""

    source: str
    #: How many there were with this one.
    probes: int


def begin(work: Work, subscriber: str, source: str, failure: Failure, wait: timedelta) -> bool:
    """*source* is out for *subscriber*, and is asked again in *wait*. Whether it was not known yet."""
    return work.execute(_BEGIN, {**_of(subscriber, source, failure), "wait": wait}).rowcount == 1


def out(work: Work, subscriber: str) -> dict[str, Failure]:
    """The sources that are out for *subscriber*, and what they last said."""
    rows = work.execute(_OUT, {"subscriber": subscriber}, prepare=True)
    return {source: Failure(cause=cause, reason=reason) for source, cause, reason in rows}


def standings(work: Work) -> dict[str, list[Outage]]:
    """Subscriber → what is out for it."""
    found: dict[str, list[Outage]] = {}
    for subscriber, *values in work.execute(_STANDINGS):
        fields = dict(zip(Outage.__struct_fields__, values, strict=True))
        found.setdefault(subscriber, []).append(Outage(**fields))
    return found


def probe(work: Work, claim: Claim, life: timedelta) -> Probe | None:
    """A source whose time has come and of which *claim* has letters, for this caller alone for *life*; None when there is none."""
    values = {"subscriber": claim.subscriber, "partition": claim.partition, "life": life}
    row = work.execute(_PROBE, values, prepare=True).fetchone()
    return Probe(*row) if row else None


def put_off(work: Work, subscriber: str, source: str, failure: Failure, wait: timedelta) -> None:
    """It is not over; the next probe is in *wait*."""
    work.execute(_PUT_OFF, {**_of(subscriber, source, failure), "wait": wait})


def end(work: Work, subscriber: str, source: str) -> None:
    """*source* has answered: what waits for it may be tried."""
    work.execute(_END, {"subscriber": subscriber, "source": source})


def end_idle(work: Work) -> None:
    """Outages that nothing waits for any more, because a person has closed it all: the next event asks anew."""
    work.execute(_END_IDLE)


def hasten(work: Work, cause: str) -> None:
    """What is out because of *cause* is asked now."""
    work.execute(_HASTEN, {"cause": cause})


def _of(subscriber: str, source: str, failure: Failure) -> dict[str, object]:
    return {"subscriber": subscriber, "source": source, "cause": failure.cause, "reason": failure.reason}
