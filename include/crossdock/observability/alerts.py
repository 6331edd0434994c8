"""Alerts: each opens and closes with its condition; at most one is open for each kind and subject."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NewType

import msgspec

from crossdock.core.errors import NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Work


class Kind(StrEnum):
    """Every kind of alert that the hub opens. What each means, `maintenance.alerting.kinds` says."""

    RUN_FAILED = "run_failed"
    RUN_HELD = "run_held"
    RUN_LATE = "run_late"
    DAG_FAILED = "dag_failed"
    ROWS_REJECTED = "rows_rejected"
    STREAM_STALE = "stream_stale"
    VOLUME_CHANGED = "volume_changed"
    SOURCE_CLOCK = "source_clock"
    DECLARATION_INVALID = "declaration_invalid"
    DEAD_LETTERS = "dead_letters"
    EVENTS_UNREAD = "events_unread"
    EVENT_HORIZON = "event_horizon"
    ATTEMPT_UNRESOLVED = "attempt_unresolved"
    PAYMENT_UNKNOWN = "payment_unknown"
    PAYMENT_DOUBLED = "payment_doubled"
    PAYMENT_DISPUTED = "payment_disputed"
    PAYMENT_TAKEN_BACK = "payment_taken_back"
    ORDER_WAITS = "order_waits"
    BREAKER_OPEN = "breaker_open"
    ACCESS_REFUSED = "access_refused"
    WEBHOOKS_REFUSED = "webhooks_refused"
    CARD_DATA_STORED = "card_data_stored"
    SECRET_EXPIRES = "secret_expires"  # noqa: S105  no secret
    DISK_LOW = "disk_low"
    DATABASE_GROWTH = "database_growth"
    BACKUP_OLD = "backup_old"
    CHANNEL_DOWN = "channel_down"
    SENDER_AWAY = "sender_away"
    ALERT_ROUTES_INVALID = "alert_routes_invalid"
    HUB_DATABASE_DOWN = "hub_database_down"
    AIRFLOW_UNREACHABLE = "airflow_unreachable"
    PROCESS_RESTARTING = "process_restarting"


#: A kind that a subscriber of an installation's own opens.
OwnKind = NewType("OwnKind", str)

#: How many examples an alert has at most, and how long each may be.
EXAMPLES = 3
_EXAMPLE_CHARACTERS = 200
#: An ID may be an e-mail address; alerts leave the hub.
_ADDRESS = re.compile(r"[^\s@<>:]+@(?=[^\s@])")

#: Kind → what to do about it.
_HINTS: Mapping[str, HintId] = {
    Kind.DEAD_LETTERS: HintId.LIST_DEAD_LETTERS,
    Kind.EVENTS_UNREAD: HintId.SHOW_DELIVERY,
    Kind.ATTEMPT_UNRESOLVED: HintId.LIST_ATTEMPTS,
    Kind.PAYMENT_UNKNOWN: HintId.LIST_PAYMENTS,
    Kind.PAYMENT_DOUBLED: HintId.SHOW_PAYMENT,
    Kind.PAYMENT_DISPUTED: HintId.SHOW_PAYMENT,
    Kind.PAYMENT_TAKEN_BACK: HintId.SHOW_PAYMENT,
    Kind.ORDER_WAITS: HintId.LIST_DECISIONS,
    Kind.BREAKER_OPEN: HintId.SHOW_INTEGRATION,
    Kind.ACCESS_REFUSED: HintId.ROTATE_CREDENTIALS,
    Kind.RUN_FAILED: HintId.LIST_RUNS,
    Kind.RUN_HELD: HintId.LIST_RUNS,
    Kind.RUN_LATE: HintId.LIST_RUNS,
    Kind.ROWS_REJECTED: HintId.LIST_QUARANTINE,
    Kind.STREAM_STALE: HintId.LIST_RUNS,
    Kind.VOLUME_CHANGED: HintId.LIST_RUNS,
    Kind.SOURCE_CLOCK: HintId.LIST_RUNS,
    Kind.SECRET_EXPIRES: HintId.ROTATE_CREDENTIALS,
}
#: Hints that name what the alert is about.
_ABOUT_THE_SUBJECT = frozenset({HintId.SHOW_INTEGRATION, HintId.ROTATE_CREDENTIALS, HintId.SHOW_PAYMENT})


class Found(msgspec.Struct, frozen=True):
    """What was found wrong about one subject. No secret, and no personal value: IDs instead."""

    #: What is wrong, in a sentence.
    message: str
    #: How many records, events or calls it is about; None where there is nothing to count.
    records: int | None = None
    #: Some of them. Only the first `EXAMPLES` are kept.
    examples: tuple[str, ...] = ()
    #: What it belongs to, by which it is routed.
    integration: str | None = None
    stream: str | None = None


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
    #: As in `Found`.
    records: int | None
    examples: Sequence[str]
    integration: str | None
    stream: str | None
    #: Who has said that they are at it; until when, or until it closes.
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    acknowledged_until: datetime | None

    @property
    def hint(self) -> Hint | None:
        """The hint for this alert; None if neither the hub nor its API can help."""
        found = _HINTS.get(self.kind)
        if found is None:
            return None
        return Hint(found, self.subject if found in _ABOUT_THE_SUBJECT else "")


class Changed(msgspec.Struct, frozen=True):
    """The changes that `hold` made."""

    #: Messages of the alerts that opened.
    begun: tuple[str, ...]
    #: Messages of the alerts that closed.
    ended: tuple[str, ...]


#: Idempotent: an open alert keeps its beginning and gets what was found last. A row that was inserted has xmax 0.
_ADD = b"""
INSERT INTO alert (kind, subject, message, records, examples, integration, stream)
VALUES (%(kind)s, %(subject)s, %(message)s, %(records)s, %(examples)s, %(integration)s, %(stream)s)
ON CONFLICT (kind, subject) WHERE closed_at IS NULL DO UPDATE
   SET message = excluded.message, records = excluded.records, examples = excluded.examples,
       integration = excluded.integration, stream = excluded.stream, seen_at = clock_timestamp()
RETURNING xmax = 0
"""

_ADD_PAST = b"""
INSERT INTO alert (kind, subject, message, records, examples, integration, stream, at, closed_at)
VALUES (%(kind)s, %(subject)s, %(message)s, %(records)s, %(examples)s, %(integration)s, %(stream)s, %(since)s,
        clock_timestamp())
"""

_CLOSE = b"""
UPDATE alert SET closed_at = clock_timestamp()
 WHERE kind = ANY(%(kinds)s) AND subject = %(subject)s AND closed_at IS NULL
"""

_CLOSE_OTHERS = b"""
UPDATE alert SET closed_at = clock_timestamp()
 WHERE kind = %(kind)s AND subject <> ALL(%(subjects)s) AND closed_at IS NULL RETURNING message
"""

#: For conditions that are found piece by piece, so that no single check can say that one has ended.
_CLOSE_UNSEEN = b"""
UPDATE alert SET closed_at = clock_timestamp() WHERE kind = %(kind)s AND closed_at IS NULL AND seen_at < %(before)s
"""

_COLUMNS = b"""alert_id, at, kind, subject, message, seen_at, closed_at, records, examples, integration, stream,
       acknowledged_by, acknowledged_at, acknowledged_until"""

_FIND = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM alert
 WHERE (%(is_open)s::bool IS NULL OR (closed_at IS NULL) = %(is_open)s)
   AND (%(before)s::bigint IS NULL OR alert_id < %(before)s)
 ORDER BY alert_id DESC LIMIT %(limit)s"""
)

_GET = b"SELECT " + _COLUMNS + b" FROM alert WHERE alert_id = %(alert_id)s"

_OPEN_OF = b"""
SELECT subject, message, records, examples, integration, stream FROM alert WHERE kind = %(kind)s AND closed_at IS NULL
"""

_OPEN = b"SELECT count(*) FROM alert WHERE closed_at IS NULL"


def add(work: Work, kind: Kind | OwnKind, subject: str, found: Found) -> bool:
    """Open an alert, and return whether it is new; an open one keeps its beginning and gets what was *found* now."""
    examples = [_shown(example) for example in found.examples[:EXAMPLES]]
    values = {"kind": str(kind), "subject": subject, **msgspec.structs.asdict(found), "examples": examples}
    row = work.execute(_ADD, values).fetchone()
    return bool(row and row[0])


def add_past(work: Work, kind: Kind, subject: str, found: Found, *, since: datetime) -> None:
    """Add an alert that is over already: it began *since*, and ends now."""
    values = {"kind": str(kind), "subject": subject, **msgspec.structs.asdict(found), "since": since}
    work.execute(_ADD_PAST, {**values, "examples": [_shown(example) for example in found.examples[:EXAMPLES]]})


def _shown(example: str) -> str:
    return without_addresses(example[:_EXAMPLE_CHARACTERS])


def without_addresses(text: str) -> str:
    """Mask the mail addresses in *text*, whosever they are: alerts and their log are shown to everybody."""
    return _ADDRESS.sub("***@", text)


def close(work: Work, *kinds: Kind | OwnKind, subject: str) -> None:
    """Close the open alerts of these kinds about *subject*. Idempotent."""
    work.execute(_CLOSE, {"kinds": [str(kind) for kind in kinds], "subject": subject})


def hold(work: Work, kind: Kind, found: Mapping[str, Found]) -> Changed:
    """Open an alert of *kind* for each condition *found* (by its subject), and close all others of that kind."""
    begun = [what.message for subject, what in found.items() if add(work, kind, subject, what)]
    ended = work.execute(_CLOSE_OTHERS, {"kind": str(kind), "subjects": list(found)}).fetchall()
    return Changed(tuple(begun), tuple(message for (message,) in ended))


def close_unseen(work: Work, kind: str, *, before: datetime) -> None:
    """Close the alerts of *kind* whose condition was last seen *before* then."""
    work.execute(_CLOSE_UNSEEN, {"kind": kind, "before": before})


def find(work: Work, *, is_open: bool | None = True, before: int | None = None, limit: int = 100) -> list[Alert]:
    """List alerts, newest first: open, closed (False) or all (None), at most *limit* before an id (keyset pagination)."""
    rows = work.execute(_FIND, {"is_open": is_open, "before": before, "limit": limit})
    return [Alert(*row) for row in rows]


def open_of(work: Work, kind: Kind) -> dict[str, Found]:
    """Find the open alerts of *kind*: subject → what was found last."""
    rows = work.execute(_OPEN_OF, {"kind": str(kind)})
    return {
        subject: Found(message, records, tuple(examples), integration, stream)
        for subject, message, records, examples, integration, stream in rows
    }


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
