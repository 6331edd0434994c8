"""The inbox: one row per subscriber and delivered event, in the transaction of the effect. It deduplicates deliveries."""

from __future__ import annotations

from collections.abc import Sequence

from crossdock.db.database import Work
from crossdock.events.model import Event

#: The store has each (source, id) once, so an event's position is its identity here.
_ADD = b"""
INSERT INTO event_inbox (subscriber, epoch, xid, position)
SELECT %(subscriber)s, epoch, xid, position
  FROM unnest(%(epochs)b::int[], %(xids)b::bigint[], %(positions)b::bigint[]) AS seen (epoch, xid, position)
ON CONFLICT DO NOTHING RETURNING epoch, position
"""

_SEEN = b"""
SELECT inbox.epoch, inbox.position
  FROM unnest(%(epochs)b::int[], %(xids)b::bigint[], %(positions)b::bigint[]) AS candidate (epoch, xid, position)
  JOIN event_inbox inbox ON inbox.subscriber = %(subscriber)s AND inbox.epoch = candidate.epoch
   AND inbox.xid = candidate.xid AND inbox.position = candidate.position
"""

#: Rows behind all cursors of their subscriber: another number of partitions begins at the slowest one, so no consumer
#: reads these events a second time. The newest rows are kept all the same, in case a person sets a cursor back.
_TRIM = b"""
DELETE FROM event_inbox WHERE ctid = ANY(ARRAY(
    SELECT inbox.ctid FROM event_inbox inbox,
           (SELECT epoch, xid::text::bigint AS xid, position FROM event_consumer WHERE subscriber = %(subscriber)s
             ORDER BY event_consumer.epoch, event_consumer.xid, event_consumer.position LIMIT 1) AS slowest,
           (SELECT last_value - %(newest)s AS position FROM event_position) AS margin
     WHERE inbox.subscriber = %(subscriber)s AND inbox.position <= margin.position
       AND (inbox.epoch, inbox.xid, inbox.position) <= (slowest.epoch, slowest.xid, slowest.position)
     ORDER BY inbox.epoch, inbox.xid, inbox.position LIMIT %(limit)s))
"""


def add(work: Work, subscriber: str, events: Sequence[Event]) -> list[Event]:
    """Record *events* as delivered to *subscriber*, at the commit; return the new ones, in order."""
    if not events:
        return []
    cursor = work.cursor(binary=True).execute(_ADD, _values(subscriber, events), prepare=True)
    if cursor.rowcount == len(events):
        return list(events)
    fresh = set(cursor.fetchall())
    return [event for event in events if (event.epoch, event.position) in fresh]


def unseen(work: Work, subscriber: str, events: Sequence[Event]) -> list[Event]:
    """Select the *events* that *subscriber* has not received, in order; record nothing."""
    seen = set(work.cursor(binary=True).execute(_SEEN, _values(subscriber, events)).fetchall())
    return [event for event in events if (event.epoch, event.position) not in seen]


def trim(work: Work, subscriber: str, *, newest: int, limit: int) -> int:
    """
    Delete rows behind all cursors of *subscriber*, oldest first, at most *limit*; return how many.

    Rows of the store's *newest* events stay, and so do the rows of a subscriber without a consumer.
    """
    return work.execute(_TRIM, {"subscriber": subscriber, "newest": newest, "limit": limit}).rowcount


def _values(subscriber: str, events: Sequence[Event]) -> dict[str, object]:
    return {
        "subscriber": subscriber,
        "epochs": [event.epoch for event in events],
        "xids": [event.xid for event in events],
        "positions": [event.position for event in events],
    }
