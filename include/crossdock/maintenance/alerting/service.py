"""The use cases of alerting: routes, tests of routes, acknowledgements, mutes, and what the declared routes are."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from crossdock.core.errors import BadRequest, Conflict, NotFound
from crossdock.core.instants import utc_text
from crossdock.core.log import logger
from crossdock.db.database import Store, Work
from crossdock.maintenance.alerting import declared, repository
from crossdock.maintenance.alerting.channels import OpenChannel, check_route
from crossdock.maintenance.alerting.model import AlertMessage, Cause, Occasion, Severity
from crossdock.maintenance.alerting.plan import Planned
from crossdock.maintenance.alerting.repository import StoredMessage, StoredMute, StoredRoute
from crossdock.maintenance.alerting.routes import Route, exactly, names_something
from crossdock.observability import alerts, audit
from crossdock.observability.alerts import Found, Kind

log = logger(__name__)

#: Of those made over REST and those that files declare together.
MOST_ROUTES = 200


def add_route(store: Store, open_channel: OpenChannel, route: Route, *, actor: str) -> StoredRoute:
    """
    Add a route, or replace the one of its name; what waits for it goes the new way.

    Raises:
        NotFound: there is no integration of that name.
        IntegrationPaused: it is paused.
        BadRequest: it sends no alerts, or cannot send to the recipients.
        Conflict: a file declares a route of that name, or there are `MOST_ROUTES` already.

    """
    check_route(route, open_channel(route.integration))
    with store.transaction() as work:
        known = _find(work, route.name)
        _refuse_declared(known)
        if known is None and repository.count_routes(work) >= MOST_ROUTES:
            raise Conflict(
                f"There are {MOST_ROUTES} routes already, and the sender looks at each every second. Remove one"
            )
        repository.save_route(work, route, declared_in=None)
        changes = audit.differences(_for_audit(known.route) if known else {}, _for_audit(route))
        act = "alert_route.change" if known else "alert_route.add"
        audit.add(work, actor=actor, act=act, subject=_subject(route.name), detail=changes)
        return get_route(work, route.name)


def remove_route(store: Store, name: str, *, actor: str) -> None:
    """
    Remove a route; what waits for it is never sent.

    Raises:
        NotFound: there is none.
        Conflict: a file declares it.

    """
    with store.transaction() as work:
        _refuse_declared(get_route(work, name))
        repository.remove_route(work, name)
        audit.add(work, actor=actor, act="alert_route.remove", subject=_subject(name))


def get_route(work: Work, name: str) -> StoredRoute:
    """
    Read a route.

    Raises:
        NotFound: there is none of that name; the message lists the existing ones.

    """
    found = _find(work, name)
    if found is None:
        names = ", ".join(each.route.name for each in repository.routes(work))
        raise NotFound(f"There is no route {name!r} of alerts. Routes: {names or 'none'}")
    return found


def request_test(store: Store, name: str, *, hub: str, actor: str) -> StoredMessage:
    """
    Write a test message to a route: the sender sends it as any other, whatever the hour.

    Raises:
        NotFound: there is no such route.

    """
    with store.transaction() as work:
        route = get_route(work, name).route
        message = _test_message(route, hub, datetime.now(UTC))
        repository.write(work, Planned(route=route, message=message, says={}))
        audit.add(work, actor=actor, act="alert_route.test", subject=_subject(name))
        return get_message(work, message.message_id)


def _test_message(route: Route, hub: str, now: datetime) -> AlertMessage:
    cause = Cause(
        kind="test",
        severity=Severity.INFO,
        subject=route.name,
        message=f"This is a test of the route {route.name}: its alerts arrive here",
        since=now,
        next_step="Nothing is wrong, and there is nothing to do.",
    )
    return AlertMessage(
        message_id=uuid.uuid4().hex,
        thread_id=uuid.uuid4().hex,
        occasion=Occasion.TEST,
        severity=Severity.INFO,
        title=f"[test] {route.name}: alerts of {hub} arrive here",
        causes=(cause,),
        hub=hub,
        at=now,
    )


def get_message(work: Work, message_id: str) -> StoredMessage:
    """
    Read a message of the log.

    Raises:
        NotFound: there is none of that ID.

    """
    found = repository.find_message(work, message_id)
    if found is None:
        raise NotFound(f"There is no message {message_id!r}")
    return found


def acknowledge(store: Store, alert_id: int, *, until: datetime | None, actor: str) -> None:
    """
    Acknowledge an open alert: it is not sent again before *until*, or before it closes.

    Raises:
        NotFound: no alert of that ID is open.
        BadRequest: *until* is past.

    """
    _refuse_past(until)
    with store.transaction() as work:
        if not repository.acknowledge(work, alert_id, actor=actor, until=until):
            raise NotFound(f"No alert {alert_id} is open")
        detail = {"until": until and utc_text(until)}
        audit.add(work, actor=actor, act="alert.acknowledge", subject=f"alert/{alert_id}", detail=detail)


def mute(
    store: Store, *, kind: str, subject: str, integration: str, until: datetime, reason: str, actor: str
) -> StoredMute:
    """
    Silence the alerts that fit all three patterns until an instant.

    Raises:
        BadRequest: *until* is past, or the patterns are wildcards alone.

    """
    _refuse_past(until)
    if not any(map(names_something, (kind, subject, integration))):
        raise BadRequest("Name a kind, a subject or an integration: a mute of everything would hide what is new")
    with store.transaction() as work:
        added = repository.add_mute(
            work, kind=kind, subject=subject, integration=integration, until=until, reason=reason, created_by=actor
        )
        detail = {"kind": kind, "subject": subject, "integration": integration, "until": utc_text(until)}
        audit.add(
            work,
            actor=actor,
            act="alert.mute",
            subject=f"alert_mute/{added.mute_id}",
            detail={**detail, "reason": reason},
        )
        return added


def mute_like(store: Store, alert_id: int, *, hours: int, reason: str, actor: str) -> StoredMute:
    """
    Silence the alerts of the kind and the subject of one for *hours*.

    Raises:
        NotFound: there is no such alert.

    """
    with store.transaction() as work:
        alert = alerts.get(work, alert_id)
    return mute(
        store,
        kind=exactly(alert.kind),
        subject=exactly(alert.subject),
        integration="*",
        until=datetime.now(UTC) + timedelta(hours=hours),
        reason=reason,
        actor=actor,
    )


def end_mute(store: Store, mute_id: int, *, actor: str) -> StoredMute:
    """
    End a mute now.

    Raises:
        NotFound: no mute of that ID holds.

    """
    with store.transaction() as work:
        ended = repository.end_mute(work, mute_id)
        if ended is None:
            raise NotFound(f"No mute {mute_id} holds")
        audit.add(work, actor=actor, act="alert.unmute", subject=f"alert_mute/{mute_id}")
        return ended


def sync_declared(store: Store, setting: str) -> None:
    """
    Take over what the files at *setting* declare. One with a mistake leaves its routes as they were, and opens an alert.

    A declared route replaces one of its name that was made over REST.
    """
    found = declared.read_all(setting)
    with store.transaction() as work:
        known = {each.route.name: each for each in repository.routes(work)}
        wanted = {route.name: (route, file) for route, file in found.routes.items()}
        for name, (route, file) in wanted.items():
            before = known.get(name)
            if before is None or (before.route, before.declared_in) != (route, file):
                repository.save_route(work, route, declared_in=file)
                audit.add(
                    work, actor="alert-sender", act="alert_route.declare", subject=_subject(name), detail={"file": file}
                )
        for name, each in known.items():
            if found.is_there and each.declared_in and name not in wanted and each.declared_in not in found.invalid:
                repository.remove_route(work, name)
                audit.add(work, actor="alert-sender", act="alert_route.remove", subject=_subject(name))
        mistakes = {name: Found(message) for name, message in found.invalid.items()} | {
            f"route {name}": Found(f"The route {name} cannot be read by this version, and sends nothing. Add it again")
            for name in repository.unreadable_routes(work)
        }
        changed = alerts.hold(work, Kind.ALERT_ROUTES_INVALID, mistakes)
    for message in changed.begun:
        log.warning("Alert: %s", message)


def _find(work: Work, name: str) -> StoredRoute | None:
    return next((each for each in repository.routes(work) if each.route.name == name), None)


def _for_audit(route: Route) -> dict[str, Any]:
    """Describe a route without its recipients: the audit trail is shown to everybody, and kept."""
    return route.model_dump(mode="json", by_alias=True, exclude={"recipients"})


def _refuse_declared(known: StoredRoute | None) -> None:
    if known and known.declared_in:
        raise Conflict(f"The route {known.route.name} is declared in {known.declared_in}: change it there")


def _refuse_past(until: datetime | None) -> None:
    if until and until <= datetime.now(UTC):
        raise BadRequest(f"{utc_text(until)} is past. Name a time to come")


def _subject(route: str) -> str:
    return f"alert_route/{route}"
