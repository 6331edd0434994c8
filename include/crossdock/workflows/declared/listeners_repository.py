"""SQL of steps that wait for an event."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from crossdock.core.decoding import prepare
from crossdock.db.database import Work
from crossdock.events import store as event_store
from crossdock.events.model import Position
from crossdock.integrations.actions.model import Document


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """A step that waits for an event."""

    execution_id: str
    step: str
    event_type: str
    #: CEL on `event`; None for any of its type.
    condition: str | None
    #: What the condition reads besides the event.
    scope: dict[str, Any]
    since_epoch: int
    since_xid: int

    @property
    def since(self) -> Position:
        """The place in the event store from which on it hears."""
        return Position(self.since_epoch, self.since_xid, 0)


prepare(Listener)

#: The second look of a step adds nothing.
_ADD = b"""
INSERT INTO workflow_listener (execution_id, step, event_type, condition, scope, since_epoch, since_xid)
VALUES (%(execution_id)s, %(step)s, %(event_type)s, %(condition)s, %(scope)s, %(since_epoch)s, %(since_xid)s) ON CONFLICT DO NOTHING
"""

_HEARD = b"SELECT event FROM workflow_listener WHERE execution_id = %(execution_id)s AND step = %(step)s"

_REMOVE = b"DELETE FROM workflow_listener WHERE execution_id = %(execution_id)s AND step = %(step)s"

#: Those that began to wait before the event was there. Locked: of two events that come at once, the second finds the first.
_WAITING = b"""
SELECT execution_id, step, event_type, condition, scope, since_epoch, since_xid FROM workflow_listener
 WHERE event_type = ANY(%(event_types)s) AND event IS NULL ORDER BY execution_id, step FOR UPDATE
"""

_HEAR = b"""
UPDATE workflow_listener SET event = %(event)s
 WHERE execution_id = %(execution_id)s AND step = %(step)s AND event IS NULL
"""


def add(work: Work, execution_id: str, step: str, *, event_type: str, condition: str | None, scope: Document) -> None:
    """Have a step wait for an event from now on."""
    since = event_store.horizon(work)
    values = {
        "execution_id": execution_id,
        "step": step,
        "event_type": event_type,
        "condition": condition,
        "scope": Jsonb(scope),
        "since_epoch": since.epoch,
        "since_xid": since.xid,
    }
    work.execute(_ADD, values)


def heard(work: Work, execution_id: str, step: str) -> Document | None:
    """Read the event that a step has waited for; None if it has not come."""
    row = work.execute(_HEARD, {"execution_id": execution_id, "step": step}).fetchone()
    return row[0] if row else None


def remove(work: Work, execution_id: str, step: str) -> None:
    """Have a step wait no more."""
    work.execute(_REMOVE, {"execution_id": execution_id, "step": step})


def waiting(work: Work, event_types: Collection[str]) -> list[Listener]:
    """Find and lock the steps that wait for events of some types."""
    with work.cursor(row_factory=class_row(Listener)) as cursor:
        return cursor.execute(_WAITING, {"event_types": list(event_types)}).fetchall()


def hear(work: Work, listener: Listener, event: Document) -> None:
    """Keep the event that a step has waited for."""
    work.execute(_HEAR, {"execution_id": listener.execution_id, "step": listener.step, "event": Jsonb(event)})
