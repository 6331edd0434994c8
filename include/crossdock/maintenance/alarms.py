"""Alarms: check every half minute what needs a person; open an alert when it begins and close it when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta

from crossdock.core.log import logger
from crossdock.db.database import Store, Work
from crossdock.events import store as event_store
from crossdock.events.subscriber import Subscriber
from crossdock.events.webhooks_in import refused as refused_webhooks
from crossdock.maintenance import alarm_conditions
from crossdock.observability import alerts

log = logger(__name__)

#: How many causes of dead letters an alert names.
_CAUSES = 3


@dataclass(frozen=True)
class AlarmThresholds:
    """The limits beyond which an alert opens."""

    #: The age of the oldest open write transaction.
    horizon_s: float = 30.0
    #: How long a key partition with waiting events has no consumer.
    unread: timedelta = timedelta(seconds=30)
    #: How long a circuit breaker is not closed.
    broken: timedelta = timedelta(minutes=5)
    #: How long the outcome of a call that writes is unknown: a repetition with its key resolves most of them sooner.
    unresolved: timedelta = timedelta(minutes=10)
    #: How long nobody knows what became of a call of a payment gateway.
    payment_unknown: timedelta = timedelta(minutes=15)
    #: Refused webhooks of an integration within an hour.
    refused: int = 10


#: Subject → the alert's message.
Found = Mapping[str, str]


def check(store: Store, subscribers: Mapping[str, Subscriber], limits: AlarmThresholds) -> None:
    """
    Check all conditions and open or close their alerts; log each change once.

    All queries come first and the writes afterwards: a query may take long, a write transaction may not.
    """
    with store.question() as work:
        found = {
            "event_horizon": _horizon(work, limits),
            "dead_letters": _dead_letters(work),
            "events_unread": _unread(work, subscribers, limits),
            "breaker_open": _broken(work, limits),
            "webhooks_refused": _refused(work, limits),
            "attempt_unresolved": _unresolved(work, limits),
            "payment_unknown": _unknown_payments(work, limits),
            "payment_doubled": _doubled_payments(work),
            "payment_disputed": _disputed_payments(work),
            "run_late": alarm_conditions.still_late(work),
        }
    with store.transaction() as work:
        changed = [alerts.hold(work, kind, what) for kind, what in found.items()]
    for alarm in changed:
        for message in alarm.begun:
            log.warning("Alert: %s", message)
        for message in alarm.ended:
            log.info("Alert closed: %s", message)


def _horizon(work: Work, limits: AlarmThresholds) -> Found:
    age_s = event_store.horizon_age_s(work)
    if age_s <= limits.horizon_s:
        return {}
    return {
        "the hub's database server": (
            f"A transaction on the hub's database server has been open for {age_s:.0f} s: no newer event is delivered. "
            "To find it: pg_stat_activity where backend_xid is not null"
        )
    }


def _dead_letters(work: Work) -> Found:
    return {
        subscriber: (
            f"{subscriber} has {sum(causes.values()):,} dead letters: "
            + ", ".join(f"{number:,} {cause}" for cause, number in list(causes.items())[:_CAUSES])
            + (" and others" if len(causes) > _CAUSES else "")
        )
        for subscriber, causes in alarm_conditions.dead_letters(work).items()
    }


def _unread(work: Work, subscribers: Mapping[str, Subscriber], limits: AlarmThresholds) -> Found:
    return {
        f"{unread.subscriber}/{unread.partition}": (
            f"No consumer has read {unread.subscriber}/{unread.partition} for {unread.since_s:.0f} s, and events are waiting. "
            "Check that the DAGs deliver_events run"
        )
        for name, subscriber in subscribers.items()
        for unread in alarm_conditions.unread(work, name, subscriber.types, limits.unread)
    }


def _broken(work: Work, limits: AlarmThresholds) -> Found:
    return {
        integration: f"{integration} is down: {outage or 'too many calls failed'}. Its circuit breaker blocks most calls"
        for integration, outage in alarm_conditions.broken(work, limits.broken).items()
    }


def _refused(work: Work, limits: AlarmThresholds) -> Found:
    return {
        refused.integration: (
            f"{refused.times:,} webhooks of {refused.integration} were refused within an hour: {refused.reason}. "
            f"{_advice_on(refused.reason, refused.integration)}"
        )
        for refused in alarm_conditions.refused_webhooks(work, limits.refused)
    }


def _advice_on(reason: str, integration: str) -> str:
    if reason == refused_webhooks.CARD_DATA:
        return "Have the sender leave it out: the hub takes tokens of payment providers only"
    return f"Compare the key in the connection {integration}_webhook with the sender's"


def _unresolved(work: Work, limits: AlarmThresholds) -> Found:
    return {
        unresolved.integration: (
            f"The outcome of calls that write to {unresolved.integration} is unknown: {unresolved.attempts:,}, the oldest for "
            f"{unresolved.since_s / 60:.0f} minutes. Such a call is not sent again until its outcome is known"
        )
        for unresolved in alarm_conditions.unresolved_attempts(work, limits.unresolved)
    }


def _unknown_payments(work: Work, limits: AlarmThresholds) -> Found:
    return {
        unknown.gateway: (
            f"What became of payments at {unknown.gateway} is unknown: {unknown.payments:,}, the oldest for "
            f"{unknown.since_s / 60:.0f} minutes ({unknown.payment_id}). No other gateway is asked for them until it is known"
        )
        for unknown in alarm_conditions.unknown_payments(work, limits.payment_unknown)
    }


def _doubled_payments(work: Work) -> Found:
    return {
        doubled.payment_id: (
            f"The payment {doubled.payment_id} ({doubled.reference}) has {doubled.authorisations} authorisations that hold or "
            "have taken the customer's money. Void or refund all but one"
        )
        for doubled in alarm_conditions.doubled_payments(work)
    }


def _disputed_payments(work: Work) -> Found:
    return {
        disputed.payment_id: (
            f"The payment {disputed.payment_id} ({disputed.reference}) is disputed at {disputed.gateways}. It can be answered "
            f"there until {disputed.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC; afterwards the money is lost"
        )
        for disputed in alarm_conditions.disputed_payments(work)
    }
