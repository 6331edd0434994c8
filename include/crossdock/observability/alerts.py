"""Alerts: each opens and closes with its condition; at most one is open for each kind and subject."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from crossdock.core.errors import NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Work

#: Kind → what to do about it.
_HINTS: Mapping[str, HintId] = {
    "dead_letters": HintId.LIST_DEAD_LETTERS,
    "events_unread": HintId.SHOW_DELIVERY,
    "attempt_unresolved": HintId.LIST_ATTEMPTS,
    "payment_unknown": HintId.LIST_PAYMENTS,
    "breaker_open": HintId.SHOW_INTEGRATION,
    "run_failed": HintId.LIST_RUNS,
    "run_held": HintId.LIST_RUNS,
    "run_late": HintId.LIST_RUNS,
}


class Alert(msgspec.Struct, frozen=True):
    alert_id: int
    #: When it began.
    at: datetime
    kind: str
    subject: str
    message: str
    #: When the condition was last confirmed.
    seen_at: datetime
    #: None while the alert is open.
    closed_at: datetime | None
    #: Who has said that they are at it; until when, or until it closes.
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    acknowledged_until: datetime | None = None

    @property
    def hint(self) -> Hint | None:
        """The hint for this alert; None if neither the hub nor its API can help."""
        found = _HINTS.get(self.kind)
        if found is None:
            return None
        return Hint(found, self.subject if found is HintId.SHOW_INTEGRATION else "")


class Changed(msgspec.Struct, frozen=True):
    """The changes that `hold` made."""

    #: Messages of the alerts that opened.
    begun: tuple[str, ...]
    #: Messages of the alerts that closed.
    ended: tuple[str, ...]


#: Idempotent: an open alert keeps its beginning and gets the newest message. A row that was inserted has xmax 0.
_ADD = b"""
INSERT INTO alert (kind, subject, message) VALUES (%(kind)s, %(subject)s, %(message)s)
ON CONFLICT (kind, subject) WHERE closed_at IS NULL DO UPDATE
   SET message = excluded.message, seen_at = clock_timestamp()
RETURNING xmax = 0
"""

_CLOSE = b"""
UPDATE alert SET closed_at = clock_timestamp()
 WHERE kind = ANY(%(kinds)s) AND subject = %(subject)s AND closed_at IS NULL
"""

_CLOSE_OTHERS = b"""
UPDATE alert SET closed_at = clock_timestamp()
 WHERE kind = %(kind)s AND subject <> ALL(%(subjects)s) AND closed_at IS NULL RETURNING message
"""

_FIND = b"""
SELECT alert_id, at, kind, subject, message, seen_at, closed_at, acknowledged_by, acknowledged_at, acknowledged_until
  FROM alert
 WHERE (%(is_open)s::bool IS NULL OR (closed_at IS NULL) = %(is_open)s)
   AND (%(before)s::bigint IS NULL OR alert_id < %(before)s)
 ORDER BY alert_id DESC LIMIT %(limit)s
"""

_GET = b"""
SELECT alert_id, at, kind, subject, message, seen_at, closed_at, acknowledged_by, acknowledged_at, acknowledged_until
  FROM alert WHERE alert_id = %(alert_id)s
"""

_OPEN = b"SELECT count(*) FROM alert WHERE closed_at IS NULL"


def add(work: Work, *, kind: str, subject: str, message: str) -> bool:
    """Open an alert, and return whether it is new; an open one keeps its beginning and gets the new *message*."""
    row = work.execute(_ADD, {"kind": kind, "subject": subject, "message": message}).fetchone()
    return bool(row and row[0])


def close(work: Work, *kinds: str, subject: str) -> None:
    """Close the open alerts of these kinds about *subject*. Idempotent."""
    work.execute(_CLOSE, {"kinds": list(kinds), "subject": subject})


def hold(work: Work, kind: str, found: Mapping[str, str]) -> Changed:
    """Open an alert of *kind* for each condition *found* (subject → message), and close all others of that kind."""
    begun = [message for subject, message in found.items() if add(work, kind=kind, subject=subject, message=message)]
    ended = work.execute(_CLOSE_OTHERS, {"kind": kind, "subjects": list(found)}).fetchall()
    return Changed(tuple(begun), tuple(message for (message,) in ended))


def find(work: Work, *, is_open: bool | None = True, before: int | None = None, limit: int = 100) -> list[Alert]:
    """List alerts, newest first: open, closed (False) or all (None), at most *limit* before an id (keyset pagination)."""
    return [Alert(*row) for row in work.execute(_FIND, {"is_open": is_open, "before": before, "limit": limit})]


def get(work: Work, alert_id: int) -> Alert:
    """
    Read the alert.

    Raises:
        NotFound: there is none of that ID.

    """
    row = work.execute(_GET, {"alert_id": alert_id}).fetchone()
    if row is None:
        raise NotFound(f"There is no alert {alert_id}")
    return Alert(*row)


def count_open(work: Work) -> int:
    row = work.execute(_OPEN).fetchone()
    return int(row[0]) if row else 0
