"""
What is to be sent now: a pure function of the alerts, the routes, the mutes and what was sent before.

A cause is a kind and a subject, however many rows it opens. Within an hour a route names a cause once, and once more
when it closes, if it had said that it opened. One that opens again after a route said that it closed is named at once,
whatever the hour: "closed" is never the last word of what is open. So that a cause that comes and goes does not flood,
it is its end that waits until it is calm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from crossdock.maintenance.alerting import texts
from crossdock.maintenance.alerting.deeds import LinksOf, no_links
from crossdock.maintenance.alerting.model import AlertMessage, Cause, Occasion, Severity
from crossdock.maintenance.alerting.routes import Route, gravity
from crossdock.maintenance.alerting.rows import AlertRow, Mute, PlacedRoute, Said, Says
from crossdock.observability.alerts import Kind

HOUR = timedelta(hours=1)
#: How long a route with digests waits for more causes. With the pace of the alarms it stays below a minute.
COLLECT = timedelta(seconds=30)
#: Causes that come so soon after the last messages belong to the same trouble.
_SAME_TROUBLE = timedelta(minutes=1)
#: A cause that closed so often within the hour is not said to be closed before one of these is longer ago.
_RESTLESS_FROM = 2
#: Of one digest: no channel shows more, and no person reads them.
_MOST_CAUSES = 100


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A message to write, and what it says of which alerts."""

    route: Route
    message: AlertMessage
    says: Mapping[int, Says]


def plan(
    alerts: Sequence[AlertRow],
    routes: Iterable[PlacedRoute],
    mutes: Sequence[Mute],
    said: Iterable[Said],
    *,
    hub: str,
    now: datetime,
    airflow_url: str = "",
    deeds_of: LinksOf = no_links,
) -> list[Planned]:
    """
    Say what is to be sent now.

    Args:
        alerts: Those that are open, and those that closed lately and are not `settled`.
        routes: All of them.
        mutes: All that may cover one of *alerts* now or when it closed.
        said: What was sent or waits, of *alerts* and of others of their causes within the last hour.
        hub: The name of the installation.
        now: The time.
        airflow_url: Where Airflow's pages are; empty for messages without links.
        deeds_of: Writes the links by which an alert is acknowledged or muted from a message.

    """
    histories = _histories(said)
    newest_first = sorted(alerts, key=lambda alert: alert.alert_id, reverse=True)
    planned: list[Planned] = []
    for placed in routes:
        history = histories.get(placed.route.name, _NOTHING)
        due = sorted(
            _due(newest_first, placed, mutes, history, now), key=lambda each: (each.since, each.alert.alert_id)
        )
        planned += _messages(
            placed.route, due, history.named_since(now - _SAME_TROUBLE), _Sender(hub, airflow_url, deeds_of), now
        )
    return planned


def settled(
    alerts: Iterable[AlertRow],
    routes: Sequence[PlacedRoute],
    mutes: Sequence[Mute],
    said: Iterable[Said],
    *,
    now: datetime,
) -> list[int]:
    """
    Find the alerts of which nothing will ever be said again, so that later plans need not read them.

    They closed more than an hour ago, no route has anything to say of them or may have after its quiet hours, and what was
    said of their cause is so long ago that it keeps nothing of a newer alert back. A route that takes them later on takes
    none that closed before.
    """
    histories = _histories(said)
    return [
        alert.alert_id
        for alert in alerts
        if alert.closed_at
        and alert.closed_at < now - HOUR
        and all(_is_settled(alert, each, mutes, histories.get(each.route.name, _NOTHING), now) for each in routes)
    ]


def _is_settled(alert: AlertRow, placed: PlacedRoute, mutes: Sequence[Mute], history: _History, now: datetime) -> bool:
    last_at = history.last_at(alert)
    return (
        not placed.route.holds(alert.severity, now)
        and not history.is_waiting(alert)
        and (last_at is None or last_at < now - HOUR)
        and _said_of_closed(alert, placed, mutes, history) is None
    )


class _Sender(NamedTuple):
    """Who sends, as its messages say."""

    hub: str
    airflow_url: str
    deeds_of: LinksOf

    def cause_of(self, alert: AlertRow, route: str, now: datetime) -> Cause:
        """Describe the cause of *alert* to those whom *route* reaches."""
        return texts.cause_of(alert, self.airflow_url, self.deeds_of(alert.alert_id, route, now))


@dataclass(frozen=True)
class _Due:
    """What a route has to say of an alert, and since when."""

    alert: AlertRow
    says: Says
    since: datetime
    #: Other alerts of the cause, of which it says the same.
    others: tuple[int, ...] = ()
    #: Within the hour, the route has said that it was over.
    is_again: bool = False

    @property
    def said(self) -> dict[int, Says]:
        return dict.fromkeys((self.alert.alert_id, *self.others), self.says)


class _Ends:
    """When the alerts of each cause closed, and which causes are open."""

    def __init__(self, alerts: Iterable[AlertRow]) -> None:
        self._open: set[tuple[str, str]] = set()
        self._closed: dict[tuple[str, str], list[datetime]] = {}
        for alert in alerts:
            if alert.closed_at is None:
                self._open.add(alert.cause)
            else:
                self._closed.setdefault(alert.cause, []).append(alert.closed_at)

    def is_calm(self, cause: tuple[str, str], since: datetime) -> bool:
        """Check that nothing of *cause* is open, and that it has not come and gone several times after *since*."""
        lately = sum(at > since for at in self._closed.get(cause, ()))
        return cause not in self._open and lately < _RESTLESS_FROM

    def last_of(self, cause: tuple[str, str]) -> datetime:
        return max(self._closed[cause])


class _History:
    """What one route has said."""

    def __init__(self, said: Iterable[Said]) -> None:
        self._of_alert: dict[int, Said] = {}
        self._last: dict[tuple[str, str], datetime] = {}
        self._waiting: set[tuple[str, str]] = set()
        self._said_open: set[tuple[str, str]] = set()
        self._refused: dict[tuple[str, str], datetime] = {}
        for each in said:
            if each.is_opened and not each.is_closed:
                self._said_open.add(each.cause)
            if each.last_at and not each.is_opened:
                self._refused[each.cause] = max(self._refused.get(each.cause, each.last_at), each.last_at)
            self._of_alert[each.alert_id] = each
            if each.last_at:
                self._last[each.cause] = max(self._last.get(each.cause, each.last_at), each.last_at)
            if each.is_waiting:
                self._waiting.add(each.cause)

    def is_opened(self, alert: AlertRow) -> bool:
        return alert.alert_id in self._of_alert and self._of_alert[alert.alert_id].is_opened

    def is_closed(self, alert: AlertRow) -> bool:
        return alert.alert_id in self._of_alert and self._of_alert[alert.alert_id].is_closed

    def last_at(self, alert: AlertRow) -> datetime | None:
        return self._last.get(alert.cause)

    def is_waiting(self, alert: AlertRow) -> bool:
        return alert.cause in self._waiting

    def may_say_again(self, alert: AlertRow, since: datetime) -> bool:
        """Check whether the last word on its cause is not that it is open, and no receiver refused that after *since*."""
        refused_at = self._refused.get(alert.cause)
        return alert.cause not in self._said_open and (refused_at is None or refused_at <= since)

    def named_since(self, since: datetime) -> int:
        """Count the causes that were named after *since*, or wait to be."""
        return len({cause for cause, at in self._last.items() if at > since} | self._waiting)


_NOTHING = _History(())


def _histories(said: Iterable[Said]) -> dict[str, _History]:
    by_route: dict[str, list[Said]] = {}
    for each in said:
        by_route.setdefault(each.route, []).append(each)
    return {route: _History(of_route) for route, of_route in by_route.items()}


def _due(
    newest_first: Sequence[AlertRow],
    placed: PlacedRoute,
    mutes: Sequence[Mute],
    history: _History,
    now: datetime,
) -> Iterator[_Due]:
    """Find what the route has to say now. It names a cause once, by its newest alert."""
    named_now: set[tuple[str, str]] = set()
    closing: dict[tuple[str, str], list[_Due]] = {}
    ends, restless_since = _Ends(newest_first), max(now - HOUR, placed.created_at)
    is_held = {severity: placed.route.holds(severity, now) for severity in Severity}
    for alert in newest_first:
        if is_held[alert.severity]:
            continue
        # What is due comes first: patterns take longest, and of most alerts there is nothing to say.
        if alert.closed_at:
            found = _said_of_closed(alert, placed, mutes, history)
        else:
            found = _said_of_open(alert, placed.route, history, now)
            found = found if found and _goes(alert, placed.route, mutes, now) else None
        if found is None:
            continue
        if found.says is Says.CLOSED:
            if ends.is_calm(alert.cause, restless_since):
                closing.setdefault(alert.cause, []).append(found)
        elif alert.cause not in named_now:
            named_now.add(alert.cause)
            yield found
    for cause, found_of in closing.items():
        yield _one_end(found_of, ends.last_of(cause))


def _one_end(closing: Sequence[_Due], closed_at: datetime) -> _Due:
    """Say once that a cause is over, of which several alerts were announced: by the newest of them."""
    newest, *others = closing
    alert = replace(newest.alert, closed_at=closed_at)
    return replace(newest, alert=alert, others=tuple(each.alert.alert_id for each in others))


def _goes(alert: AlertRow, route: Route, mutes: Sequence[Mute], at: datetime) -> bool:
    """Check that *route* takes the alert, and nobody has muted it."""
    if alert.kind == Kind.CHANNEL_DOWN and alert.subject == route.integration:
        return False
    return route.matches(alert.kind, alert.severity, alert.stream, alert.integration) and not any(
        mute.covers(alert, at) for mute in mutes
    )


def _said_of_open(alert: AlertRow, route: Route, history: _History, now: datetime) -> _Due | None:
    if history.is_waiting(alert):
        return None
    last_at = history.last_at(alert)
    if last_at is None:
        return _Due(alert, Says.OPENED, alert.at)
    if not history.is_opened(alert):
        if now >= last_at + HOUR:
            return _Due(alert, Says.OPENED, last_at + HOUR)
        return _Due(alert, Says.OPENED, alert.at, is_again=True) if history.may_say_again(alert, now - HOUR) else None
    if route.remind_every_hours is None or alert.is_acknowledged:
        return None
    again_at = last_at + route.remind_every_hours * HOUR
    return _Due(alert, Says.CONTINUES, again_at) if now >= again_at else None


def _said_of_closed(alert: AlertRow, placed: PlacedRoute, mutes: Sequence[Mute], history: _History) -> _Due | None:
    """
    Find what to say of an alert that has closed.

    That it closed is said wherever it was said that it opened, also if the route has changed or somebody muted it since.
    """
    closed_at = alert.closed_at
    if closed_at is None or history.is_closed(alert):
        return None
    if history.is_opened(alert):
        return _Due(alert, Says.CLOSED, closed_at)
    last_at = history.last_at(alert)
    is_covered = last_at is not None and last_at > closed_at - HOUR
    if is_covered or history.is_waiting(alert) or closed_at < placed.created_at:
        return None
    return _Due(alert, Says.PASSED, closed_at) if _goes(alert, placed.route, mutes, closed_at) else None


def _messages(
    route: Route, due: Sequence[_Due], named_lately: int, sender: _Sender, now: datetime
) -> Iterator[Planned]:
    """
    Write a message for each, or one for all of them.

    Trouble grows while its messages go out. Without *named_lately* the last few of thirty causes would be single mails
    again, right after the digest.
    """
    if not due:
        return
    if route.digest_over is not None:
        if now < due[0].since + COLLECT:
            return
        if len(due) > 1 and named_lately + len(due) > route.digest_over:
            for at in range(0, len(due), _MOST_CAUSES):
                yield _digest(route, due[at : at + _MOST_CAUSES], sender, now)
            return
    for each in due:
        yield _single(route, each, sender, now)


_OCCASIONS = {
    Says.OPENED: Occasion.OPENED,
    Says.CONTINUES: Occasion.CONTINUES,
    Says.CLOSED: Occasion.CLOSED,
    Says.PASSED: Occasion.CLOSED,
}


def _single(route: Route, due: _Due, sender: _Sender, now: datetime) -> Planned:
    alert = due.alert
    cause, occasion = sender.cause_of(alert, route.name, now), _OCCASIONS[due.says]
    message = AlertMessage(
        message_id=_id(route.name, due.says, str(alert.alert_id), now.isoformat()),
        thread_id=_id(route.name, *alert.cause),
        occasion=occasion,
        severity=cause.severity,
        title=texts.title_of(cause, occasion, is_again=due.is_again),
        causes=(cause,),
        hub=sender.hub,
        at=now,
    )
    return Planned(route=route, message=message, says=due.said)


def _digest(route: Route, due: Sequence[_Due], sender: _Sender, now: datetime) -> Planned:
    # The gravest first: a receiver shows only some of many, and those that last count more than those that are over.
    ordered = sorted(due, key=lambda each: (each.alert.closed_at is not None, -gravity(each.alert.severity)))
    causes = tuple(sender.cause_of(each.alert, route.name, now) for each in ordered)
    ids = [f"{each.alert.alert_id} {each.says}" for each in due]
    message = AlertMessage(
        message_id=_id(route.name, *ids, now.isoformat()),
        thread_id=_id(route.name),
        occasion=Occasion.DIGEST,
        severity=texts.severity_of(causes),
        title=texts.digest_title_of(causes),
        causes=causes,
        hub=sender.hub,
        at=now,
    )
    return Planned(
        route=route, message=message, says={number: says for each in due for number, says in each.said.items()}
    )


def _id(*parts: str) -> str:
    """Make an ID: the same for the same parts, so that a plan is a function."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
