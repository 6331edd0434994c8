"""What has had its effect at whom: one row per subscriber and event, in the transaction of the effect."""

from __future__ import annotations

from collections.abc import Sequence

from include.model.events import Event
from include.store.database import Work

#: The store holds each (source, id) once, so an event's place is its identity here.
_ADD = b"""
INSERT INTO event_inbox (subscriber, epoch, position)
SELECT %(subscriber)s, epoch, position FROM unnest(%(epochs)b::int[], %(positions)b::bigint[]) AS seen (epoch, position)
ON CONFLICT DO NOTHING RETURNING epoch, position
"""

_SEEN = b"""
SELECT inbox.epoch, inbox.position
  FROM unnest(%(epochs)b::int[], %(positions)b::bigint[]) AS wanted (epoch, position)
  JOIN event_inbox inbox ON inbox.subscriber = %(subscriber)s AND inbox.position = wanted.position
   AND inbox.epoch = wanted.epoch
"""

_TRIM = b"""
DELETE FROM event_inbox inbox USING (
    SELECT subscriber, min(epoch) AS epoch, min(position) AS position FROM event_reader GROUP BY subscriber) AS slowest
 WHERE inbox.subscriber = slowest.subscriber AND inbox.epoch <= slowest.epoch
   AND inbox.position < least(%(below)s, slowest.position)
"""


def add(work: Work, subscriber: str, events: Sequence[Event]) -> list[Event]:
    """Those of *events* that *subscriber* has not had, in order; they are noted as had when the transaction commits."""
    if not events:
        return []
    cursor = work.cursor(binary=True).execute(_ADD, _values(subscriber, events), prepare=True)
    if cursor.rowcount == len(events):
        return list(events)
    fresh = set(cursor.fetchall())
    return [event for event in events if (event.epoch, event.position) in fresh]


def unseen(work: Work, subscriber: str, events: Sequence[Event]) -> list[Event]:
    """Those of *events* that *subscriber* has not had, in order; nothing is noted."""
    seen = set(work.cursor(binary=True).execute(_SEEN, _values(subscriber, events)).fetchall())
    return [event for event in events if (event.epoch, event.position) not in seen]


def _values(subscriber: str, events: Sequence[Event]) -> dict[str, object]:
    return {
        "subscriber": subscriber,
        "epochs": [event.epoch for event in events],
        "positions": [event.position for event in events],
    }


def trim(work: Work, *, below: int) -> int:
    """How many rows went that tell of events before position *below*, which are in the store no more."""
    return work.execute(_TRIM, {"below": below}).rowcount
