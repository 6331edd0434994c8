"""Who had one event, and when: the inbox, the dead letters and the cursors of each subscriber in one question."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec

from crossdock.db.database import Work
from crossdock.events.model import Event


class ConsumptionState(StrEnum):
    """What became of an event at one subscriber."""

    DELIVERED = "delivered"
    #: It is in the dead letters: dead, retried, or closed as their state says.
    FAILED = "failed"
    #: It is silent: stored, and delivered to nobody.
    SILENT = "silent"
    WAITING = "waiting"


class Consumption(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an event at one subscriber."""

    subscriber: str
    state: ConsumptionState
    #: When it was delivered; None if it was not, or nobody knows any more.
    at: datetime | None
    dead_letter_id: int | None = None
    dead_letter_state: str | None = None
    attempts: int = 0
    last_failed_at: datetime | None = None


#: A row of the inbox is deleted some time after the slowest cursor has passed it: the event was delivered all the same.
_CONSUMED = b"""
SELECT name, stored.silent, inbox.delivered_at, inbox.subscriber IS NOT NULL,
       (SELECT bool_and((c.epoch, c.xid, c.position) >= (stored.epoch, stored.xid, stored.position))
          FROM event_consumer c WHERE c.subscriber = name),
       dead_letter.dead_letter_id, dead_letter.state, dead_letter.attempts, dead_letter.last_seen_at, dead_letter.closed_at
  FROM (SELECT epoch, xid, position, silent FROM event WHERE epoch = %(epoch)s AND position = %(position)s) AS stored
 CROSS JOIN unnest(%(names)s::text[]) AS name
  LEFT JOIN event_inbox inbox ON inbox.subscriber = name AND inbox.epoch = stored.epoch
        AND inbox.xid = stored.xid::text::bigint AND inbox.position = stored.position
  LEFT JOIN dead_letter ON dead_letter.subscriber = name AND dead_letter.epoch = stored.epoch
        AND dead_letter.position = stored.position
 ORDER BY name
"""
#: States of a dead letter in which the event arrived after all.
_ARRIVED = frozenset({"recovered", "replayed"})


class _Row(NamedTuple):
    """What the tables say of the event at one subscriber."""

    name: str
    is_silent: bool
    delivered_at: datetime | None
    is_in_inbox: bool
    #: Behind all cursors; None for a subscriber that was never started.
    is_behind: bool | None
    dead_letter_id: int | None
    dead_letter_state: str | None
    attempts: int | None
    last_seen_at: datetime | None
    closed_at: datetime | None


def consumed_by(work: Work, event: Event, names: Sequence[str]) -> list[Consumption]:
    """Say what became of *event* at each subscriber of *names*, all of which take its type."""
    values = {"epoch": event.epoch, "position": event.position, "names": list(names)}
    return [_consumption(_Row(*row)) for row in work.execute(_CONSUMED, values)]


def _consumption(row: _Row) -> Consumption:
    if row.dead_letter_state is not None:
        has_arrived = row.dead_letter_state in _ARRIVED
        return Consumption(
            subscriber=row.name,
            state=ConsumptionState.DELIVERED if has_arrived else ConsumptionState.FAILED,
            at=row.closed_at if has_arrived else None,
            dead_letter_id=row.dead_letter_id,
            dead_letter_state=row.dead_letter_state,
            attempts=row.attempts or 0,
            last_failed_at=row.last_seen_at,
        )
    if row.is_in_inbox or (row.is_behind and not row.is_silent):
        return Consumption(subscriber=row.name, state=ConsumptionState.DELIVERED, at=row.delivered_at)
    state = ConsumptionState.SILENT if row.is_silent else ConsumptionState.WAITING
    return Consumption(subscriber=row.name, state=state, at=None)
