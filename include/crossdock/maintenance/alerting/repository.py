"""The tables of routes, messages, mutes and acknowledgements."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar, cast

import msgspec
from psycopg.rows import kwargs_row
from psycopg.types.json import Jsonb
from pydantic import ValidationError

from crossdock.core.decoding import prepare
from crossdock.db.database import Work
from crossdock.maintenance.alerting.model import AlertMessage, Occasion
from crossdock.maintenance.alerting.plan import Planned
from crossdock.maintenance.alerting.routes import Route
from crossdock.maintenance.alerting.rows import AlertRow, Mute, PlacedRoute, Said, Says

prepare(AlertMessage)
_Row = TypeVar("_Row")


class MessageState(StrEnum):
    WAITING = "waiting"
    #: It was handed to its channel, and nobody has written down what came of it.
    SENDING = "sending"
    SENT = "sent"
    #: The receiver refused it, or its route was removed.
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class StoredRoute(PlacedRoute):
    #: The file that declares it; None for one made over REST.
    declared_in: str | None


@dataclass(frozen=True, kw_only=True)
class StoredMute(Mute):
    mute_id: int
    reason: str
    created_by: str


@dataclass(frozen=True, kw_only=True)
class StoredMessage:
    """A message in the log."""

    message_no: int
    message_id: str
    route: str
    integration: str
    recipients: tuple[str, ...]
    occasion: Occasion
    message: AlertMessage
    state: MessageState
    attempts: int
    next_at: datetime
    error: str | None
    created_at: datetime
    ended_at: datetime | None


#: Closed alerts of which a plan may still have something to say: quiet hours last a weekend, not a week.
_LATELY = timedelta(days=7)

#: The clock by which all of it is written: by one that is an hour ahead, each reminder would be due at once, again and again.
_NOW = b"SELECT clock_timestamp()"

#: Read by every plan, once a second.
OF_PLAN_ALERTS = b"""
SELECT alert_id, kind, subject, message, at, closed_at, records, examples, integration, stream,
       acknowledged_at IS NOT NULL AND (acknowledged_until IS NULL OR acknowledged_until > %(now)s)
  FROM alert WHERE closed_at IS NULL OR (closed_at > %(since)s AND NOT settled)
"""

#: One alert after the other, each by its keys (OFFSET 0 keeps it so): a plan for a table whose statistics are old would read
#: the messages of months, every second.
OF_PLAN_SAID = b"""
SELECT route, alert_id, kind, subject,
       max(coalesce(ended_at, created_at)) FILTER (WHERE says <> 'closed'),
       coalesce(bool_or(state IN ('waiting', 'sending')) FILTER (WHERE says <> 'closed'), false),
       coalesce(bool_or(state <> 'refused') FILTER (WHERE says <> 'closed'), false),
       bool_or(says IN ('closed', 'passed'))
  FROM (SELECT alert_id, kind, subject FROM alert
         WHERE closed_at IS NULL OR (closed_at > %(since)s AND NOT settled) OFFSET 0) AS alert,
       LATERAL (SELECT message_no, says FROM alert_message_cause AS cause
                 WHERE cause.alert_id = alert.alert_id OFFSET 0) AS cause,
       LATERAL (SELECT route, state, ended_at, created_at FROM alert_message AS message
                 WHERE message.message_no = cause.message_no OFFSET 0) AS message
 GROUP BY route, alert_id, kind, subject
"""

_MARK_SETTLED = b"UPDATE alert SET settled = true WHERE alert_id = ANY(%(alert_ids)s)"

_ROUTES = b"SELECT definition, created_at, declared_in FROM alert_route ORDER BY name"

_COUNT_ROUTES = b"SELECT count(*) FROM alert_route"

#: What a route says of how and to whom, and not of which alerts.
_HOW = ["integration", "recipients", "quiet", "digest_over", "remind_every_hours"]

#: A route that takes other alerts from now on is as good as new: what closed before is no news for it.
_SAVE_ROUTE = b"""
INSERT INTO alert_route (name, definition, declared_in) VALUES (%(name)s, %(definition)s, %(declared_in)s)
ON CONFLICT (name) DO UPDATE SET definition = excluded.definition, declared_in = excluded.declared_in,
       created_at = CASE WHEN alert_route.definition - %(how)s::text[] = excluded.definition - %(how)s::text[]
                         THEN alert_route.created_at ELSE clock_timestamp() END
"""

#: What is not sent goes the new way: the old channel may be the reason for the change. One that the old channel has in
#: hand may still arrive there: it is left alone for a minute, so that it is not sent both ways.
_REDIRECT = b"""
UPDATE alert_message
   SET integration = %(integration)s, recipients = %(recipients)s, attempts = 0, state = 'waiting',
       next_at = clock_timestamp() + CASE state WHEN 'sending' THEN interval '1 minute' ELSE interval '0' END
 WHERE route = %(name)s AND state IN ('waiting', 'sending')
"""

_REMOVE_ROUTE = b"DELETE FROM alert_route WHERE name = %(name)s"

#: One that its channel has in hand may still arrive; then that is written down.
_REFUSE_UNSENT = b"""
UPDATE alert_message SET state = 'refused', error = 'Its route was removed', ended_at = clock_timestamp()
 WHERE route = %(name)s AND state IN ('waiting', 'sending')
"""

_MUTES = b"""
SELECT kind, subject, integration, since, until, mute_id, reason, created_by FROM alert_mute
 WHERE until > %(after)s ORDER BY mute_id
"""

_ADD_MUTE = b"""
INSERT INTO alert_mute (kind, subject, integration, until, reason, created_by)
VALUES (%(kind)s, %(subject)s, %(integration)s, %(until)s, %(reason)s, %(created_by)s)
RETURNING kind, subject, integration, since, until, mute_id, reason, created_by
"""

_END_MUTE = b"""
UPDATE alert_mute SET until = clock_timestamp() WHERE mute_id = %(mute_id)s AND until > clock_timestamp()
RETURNING kind, subject, integration, since, until, mute_id, reason, created_by
"""

_ACKNOWLEDGE = b"""
UPDATE alert SET acknowledged_by = %(actor)s, acknowledged_at = clock_timestamp(), acknowledged_until = %(until)s
 WHERE alert_id = %(alert_id)s AND closed_at IS NULL
"""

_ADD_MESSAGE = b"""
INSERT INTO alert_message (message_id, route, integration, recipients, thread_id, occasion, message)
VALUES (%(message_id)s, %(route)s, %(integration)s, %(recipients)s, %(thread_id)s, %(occasion)s, %(message)s)
RETURNING message_no
"""

_ADD_CAUSE = (
    b"INSERT INTO alert_message_cause (message_no, alert_id, says) VALUES (%(message_no)s, %(alert_id)s, %(says)s)"
)

#: Only the last reminder counts. Otherwise an alert that stays open would add a row each hour, which every plan reads.
_FORGET_REMINDERS = b"""
DELETE FROM alert_message_cause USING alert_message
 WHERE alert_message.message_no = alert_message_cause.message_no AND route = %(route)s AND alert_id = ANY(%(alert_ids)s)
   AND says = 'continues' AND alert_message.message_no < %(message_no)s
"""

_OPEN_CHANNELS = b"SELECT DISTINCT integration FROM alert_message WHERE state IN ('waiting', 'sending') ORDER BY 1"

_COLUMNS = b"""message_no, message_id, route, integration, recipients, occasion, message, state, attempts, next_at, error,
       created_at, ended_at"""

#: The oldest that is not sent decides when its channel is tried again. What quiet hours hold does not hold up others.
_CLAIM = (
    b"""
UPDATE alert_message SET state = 'sending', attempts = attempts + 1
 WHERE next_at <= clock_timestamp() AND message_no = (
    SELECT message_no FROM alert_message
     WHERE integration = %(integration)s AND state IN ('waiting', 'sending')
       AND (occasion = 'test' OR route <> ALL(CASE message->>'severity' WHEN 'critical' THEN %(held_critical)s::text[]
                                                                        ELSE %(held)s::text[] END))
     ORDER BY message_no LIMIT 1 FOR UPDATE)
RETURNING """
    + _COLUMNS
)

#: That it was sent is always true. A failure says nothing of one that a later sender has ended, or whose route has
#: changed or is gone since.
_END = b"""
UPDATE alert_message
   SET state = %(state)s, error = %(error)s, ended_at = CASE WHEN %(state)s = 'waiting' THEN NULL ELSE clock_timestamp() END,
       next_at = clock_timestamp() + %(wait)s
 WHERE message_no = %(message_no)s AND (state = 'sending' OR (%(state)s = 'sent' AND state <> 'sent'))
"""

_MESSAGES = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM alert_message
 WHERE (%(state)s::text IS NULL OR state = %(state)s) AND (%(route)s::text IS NULL OR route = %(route)s)
   AND (%(before)s::bigint IS NULL OR message_no < %(before)s)
 ORDER BY message_no DESC LIMIT %(limit)s"""
)

_MESSAGE = b"SELECT " + _COLUMNS + b" FROM alert_message WHERE message_id = %(message_id)s"

_BACKLOG = b"SELECT count(*), min(created_at) FROM alert_message WHERE state IN ('waiting', 'sending')"


def now(work: Work) -> datetime:
    """Read the database's clock."""
    (found,) = _one(work.execute(_NOW).fetchone())
    return cast("datetime", found).astimezone(UTC)


def alerts(work: Work, now: datetime) -> list[AlertRow]:
    """Read the alerts that are open, and those that closed lately and are not settled."""
    rows = work.execute(OF_PLAN_ALERTS, {"now": now, "since": now - _LATELY})
    return [
        AlertRow(
            alert_id=alert_id,
            kind=kind,
            subject=subject,
            message=message,
            at=at,
            closed_at=closed_at,
            records=records,
            examples=tuple(examples),
            integration=integration,
            stream=stream,
            is_acknowledged=is_acknowledged,
        )
        for (
            alert_id,
            kind,
            subject,
            message,
            at,
            closed_at,
            records,
            examples,
            integration,
            stream,
            is_acknowledged,
        ) in rows
    ]


def said(work: Work, now: datetime) -> list[Said]:
    """Read what was said of those alerts."""
    return [
        Said(
            route=route,
            alert_id=alert_id,
            cause=(kind, subject),
            last_at=last_at,
            is_waiting=is_waiting,
            is_opened=is_opened,
            is_closed=is_closed,
        )
        for route, alert_id, kind, subject, last_at, is_waiting, is_opened, is_closed in work.execute(
            OF_PLAN_SAID, {"since": now - _LATELY}
        )
    ]


def mark_settled(work: Work, alert_ids: Sequence[int]) -> None:
    """Leave the alerts out of every later plan: nothing will be said of them any more."""
    if alert_ids:
        work.execute(_MARK_SETTLED, {"alert_ids": list(alert_ids)})


def mutes(work: Work, now: datetime, *, ended: bool = False) -> list[StoredMute]:
    """Read the mutes that hold now; with *ended* also those that may have covered an alert that closed lately."""
    found = work.cursor(row_factory=kwargs_row(StoredMute)).execute(_MUTES, {"after": now - _LATELY if ended else now})
    return found.fetchall()


def add_mute(
    work: Work, *, kind: str, subject: str, integration: str, until: datetime, reason: str, created_by: str
) -> StoredMute:
    values = {"kind": kind, "subject": subject, "integration": integration, "until": until, "reason": reason}
    added = work.cursor(row_factory=kwargs_row(StoredMute)).execute(_ADD_MUTE, {**values, "created_by": created_by})
    return _one(added.fetchone())


def end_mute(work: Work, mute_id: int) -> StoredMute | None:
    """End a mute now; None if none of that ID holds."""
    return work.cursor(row_factory=kwargs_row(StoredMute)).execute(_END_MUTE, {"mute_id": mute_id}).fetchone()


def acknowledge(work: Work, alert_id: int, *, actor: str, until: datetime | None) -> bool:
    """Acknowledge an open alert; false if none of that ID is open."""
    return work.execute(_ACKNOWLEDGE, {"alert_id": alert_id, "actor": actor, "until": until}).rowcount == 1


def routes(work: Work) -> list[StoredRoute]:
    """Read all routes, by name, but those that this version cannot read: one of them must not keep the others from sending."""
    return [
        StoredRoute(route=route, created_at=created_at, declared_in=declared_in)
        for definition, created_at, declared_in in work.execute(_ROUTES)
        if (route := _read(definition)) is not None
    ]


def count_routes(work: Work) -> int:
    """Count the routes, also those that this version cannot read."""
    (number,) = _one(work.execute(_COUNT_ROUTES).fetchone())
    return int(number)


def unreadable_routes(work: Work) -> list[str]:
    """Name the routes that this version cannot read: another one has written them, or their time zone is no more."""
    return [str(definition["name"]) for definition, *_ in work.execute(_ROUTES) if _read(definition) is None]


def _read(definition: Mapping[str, Any]) -> Route | None:
    try:
        return Route.model_validate(definition)
    except ValidationError:
        return None


def save_route(work: Work, route: Route, *, declared_in: str | None) -> None:
    """Add or replace a route; what is not sent goes the new way."""
    definition = Jsonb(route.model_dump(mode="json", by_alias=True))
    work.execute(_SAVE_ROUTE, {"name": route.name, "definition": definition, "declared_in": declared_in, "how": _HOW})
    values = {"name": route.name, "integration": route.integration, "recipients": list(route.recipients)}
    work.execute(_REDIRECT, values)


def remove_route(work: Work, name: str) -> None:
    """Remove a route; what is not sent is never sent."""
    work.execute(_REMOVE_ROUTE, {"name": name})
    work.execute(_REFUSE_UNSENT, {"name": name})


def write(work: Work, planned: Planned) -> int:
    """Write a message to be sent, and return its number."""
    message, route = planned.message, planned.route
    values = {
        "message_id": message.message_id,
        "route": route.name,
        "integration": route.integration,
        "recipients": list(route.recipients),
        "thread_id": message.thread_id,
        "occasion": message.occasion.value,
        "message": Jsonb(msgspec.to_builtins(message)),
    }
    (message_no,) = _one(work.execute(_ADD_MESSAGE, values).fetchone())
    for alert_id, says in planned.says.items():
        work.execute(_ADD_CAUSE, {"message_no": message_no, "alert_id": alert_id, "says": Says(says).value})
    again = [alert_id for alert_id, says in planned.says.items() if says is Says.CONTINUES]
    if again:
        work.execute(_FORGET_REMINDERS, {"route": route.name, "alert_ids": again, "message_no": message_no})
    return int(message_no)


def open_channels(work: Work) -> list[str]:
    """Name the integrations with messages that are not sent."""
    return [integration for (integration,) in work.execute(_OPEN_CHANNELS)]


def claim(
    work: Work, integration: str, *, held: Collection[str], held_critical: Collection[str]
) -> StoredMessage | None:
    """
    Take the next message of a channel, if it is due.

    Args:
        work: A transaction in which the sender's lease was checked.
        integration: The channel.
        held: The routes that hold their messages now.
        held_critical: Those of them that hold critical ones, too.

    """
    values = {"integration": integration, "held": list(held), "held_critical": list(held_critical)}
    return work.cursor(row_factory=kwargs_row(_message)).execute(_CLAIM, values).fetchone()


def end(
    work: Work, message_no: int, state: MessageState, *, error: str | None = None, wait: timedelta = timedelta(0)
) -> None:
    """Record what became of a message, and for how long one that waits is left alone."""
    values = {"message_no": message_no, "state": state.value, "error": error, "wait": wait}
    work.execute(_END, values)


def messages(
    work: Work,
    *,
    state: MessageState | None = None,
    route: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[StoredMessage]:
    """List messages, newest first: at most *limit* that were written before the message *before*."""
    values: Mapping[str, Any] = {"state": state and state.value, "route": route, "before": before, "limit": limit}
    return work.cursor(row_factory=kwargs_row(_message)).execute(_MESSAGES, values).fetchall()


def find_message(work: Work, message_id: str) -> StoredMessage | None:
    """Find a message by its ID; None if there is none."""
    return work.cursor(row_factory=kwargs_row(_message)).execute(_MESSAGE, {"message_id": message_id}).fetchone()


def backlog(work: Work) -> tuple[int, datetime | None]:
    """Count the messages that are not sent, and say since when the oldest waits."""
    number, since = _one(work.execute(_BACKLOG).fetchone())
    return int(number), since


def _message(**fields: Any) -> StoredMessage:
    return StoredMessage(
        **{
            **fields,
            "recipients": tuple(fields["recipients"]),
            "occasion": Occasion(fields["occasion"]),
            "state": MessageState(fields["state"]),
            "message": msgspec.convert(fields["message"], AlertMessage),
        }
    )


def _one(row: _Row | None) -> _Row:
    assert row is not None  # noqa: S101  a statement that always returns one
    return row
