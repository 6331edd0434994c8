"""Alarms: check every half minute what needs a person; open an alert when it begins and close it when it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from crossdock.core.counted import counted
from crossdock.core.errors import HubUnavailable
from crossdock.core.log import logger
from crossdock.db.database import Store, StoreUnavailable, Work
from crossdock.db.leases import stream_id
from crossdock.events import store as event_store
from crossdock.events.delivery.attempt import REFUSAL_CAUSES
from crossdock.events.subscriber import Subscriber
from crossdock.events.webhooks_in import refused as refused_webhooks
from crossdock.events.webhooks_in import service as webhooks_in
from crossdock.maintenance import alarm_conditions, backups, capacity, volumes
from crossdock.maintenance.volumes import VolumeLimits
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind
from crossdock.workflows.declared import repository as workflow_repository
from crossdock.workflows.declared import webhooks as workflow_webhooks

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
    #: How much a stream may differ from the weeks before.
    volumes: VolumeLimits = field(default_factory=VolumeLimits)
    #: How much the hub's database may grow within a day.
    growth_gb_per_day: float = 20.0
    #: How old the newest backup may be; zero for any age.
    backup: timedelta = timedelta(0)


#: Finds what is wrong now of one kind, by its subject. It may run at any time, with no transaction open.
Condition = Callable[[Work], Mapping[str, Found]]
_NONE: Mapping[Kind, Condition] = {}


def check(
    store: Store,
    subscribers: Mapping[str, Subscriber],
    limits: AlarmThresholds,
    others: Mapping[Kind, Condition] = _NONE,
) -> None:
    """
    Check all conditions and open or close their alerts; log each change once.

    *others* are conditions of what the database does not know. Alerts of a kind that is not checked stay as they are.

    All queries come first and the writes afterwards: a query may take long, a write transaction may not.
    """
    conditions = {**_conditions(subscribers, limits), **others}
    looked = {kind: _look(store, kind, condition) for kind, condition in conditions.items()}
    found = {kind: what for kind, what in looked.items() if what is not None}
    with store.transaction() as work:
        changed = [alerts.hold(work, kind, what) for kind, what in found.items()]
    for alarm in changed:
        for message in alarm.begun:
            log.warning("Alert: %s", message)
        for message in alarm.ended:
            log.info("Alert closed: %s", message)


def _look(store: Store, kind: Kind, condition: Condition) -> Mapping[str, Found] | None:
    """Check one condition; None if that fails, so that a table or a folder that is gone does not hide all other alerts."""
    try:
        with store.question() as work:
            return condition(work)
    except StoreUnavailable:
        raise
    except HubUnavailable as error:
        log.warning("Cannot check for alerts of the kind %s: %s", kind, error)
        return None
    except Exception:  # Also errors of an object store or a file.
        log.exception("Cannot check for alerts of the kind %s", kind)
        return None


def _conditions(subscribers: Mapping[str, Subscriber], limits: AlarmThresholds) -> Mapping[Kind, Condition]:
    return {
        Kind.EVENT_HORIZON: partial(_horizon, limits=limits),
        Kind.DEAD_LETTERS: _dead_letters,
        Kind.EVENTS_UNREAD: partial(_unread, subscribers=subscribers, limits=limits),
        Kind.BREAKER_OPEN: partial(_broken, limits=limits),
        Kind.ACCESS_REFUSED: _refusing,
        Kind.WEBHOOKS_REFUSED: partial(_refused, limits=limits),
        Kind.ATTEMPT_UNRESOLVED: partial(_unresolved, limits=limits),
        Kind.PAYMENT_UNKNOWN: partial(_unknown_payments, limits=limits),
        Kind.ORDER_WAITS: _waiting_orders,
        Kind.PAYMENT_DOUBLED: _doubled_payments,
        Kind.PAYMENT_DISPUTED: _disputed_payments,
        Kind.PAYMENT_TAKEN_BACK: _taken_back_payments,
        Kind.RUN_LATE: alarm_conditions.still_late,
        Kind.ROWS_REJECTED: _rejected,
        Kind.VOLUME_CHANGED: lambda work: volumes.changed(work, limits.volumes, datetime.now(UTC)),
        Kind.DATABASE_GROWTH: partial(capacity.growth, most_gb_per_day=limits.growth_gb_per_day),
        Kind.BACKUP_OLD: partial(backups.too_old, most=limits.backup),
    }


def _horizon(work: Work, limits: AlarmThresholds) -> Mapping[str, Found]:
    age_s = event_store.horizon_age_s(work)
    if age_s <= limits.horizon_s:
        return {}
    return {
        "the hub's database server": Found(
            f"A transaction on the hub's database server has been open for {age_s:.0f} s: no newer event is delivered. "
            "To find it: pg_stat_activity where backend_xid is not null"
        )
    }


def _dead_letters(work: Work) -> Mapping[str, Found]:
    return {
        subscriber: Found(
            f"{subscriber} has {counted(found.number, 'dead letter')}: {_in_words(found.causes)}",
            found.number,
            found.examples,
        )
        for subscriber, found in alarm_conditions.dead_letters(work).items()
    }


def _rejected(work: Work) -> Mapping[str, Found]:
    return {
        (stream := stream_id(integration, dataset)): Found(
            f"{stream} has {counted(found.number, 'record')} in quarantine: {_in_words(found.causes)}",
            found.number,
            found.examples,
            integration,
            stream,
        )
        for (integration, dataset), found in alarm_conditions.rejected(work).items()
    }


def _in_words(causes: Mapping[str, int]) -> str:
    named = ", ".join(f"{number:,} {cause}" for cause, number in list(causes.items())[:_CAUSES])
    return named + (" and others" if len(causes) > _CAUSES else "")


def _unread(work: Work, subscribers: Mapping[str, Subscriber], limits: AlarmThresholds) -> Mapping[str, Found]:
    return {
        f"{unread.subscriber}/{unread.partition}": Found(
            f"No consumer has read {unread.subscriber}/{unread.partition} for {unread.since_s:.0f} s, and events are waiting. "
            "Check that the DAGs deliver_events run"
        )
        for name, subscriber in subscribers.items()
        for unread in alarm_conditions.unread(work, name, subscriber.types, limits.unread)
    }


def _broken(work: Work, limits: AlarmThresholds) -> Mapping[str, Found]:
    return {
        integration: Found(
            f"{integration} is down: {outage or 'too many calls failed'}. Its circuit breaker blocks most calls",
            integration=integration,
        )
        for integration, outage in alarm_conditions.broken(work, limits.broken).items()
    }


def _refusing(work: Work) -> Mapping[str, Found]:
    return {
        (integration := refusing.source.removeprefix(webhooks_in.SOURCE)): Found(
            f"{_counted(refusing.events)} events of {integration} wait, because it cannot be called: {refusing.reason}",
            refusing.events,
            integration=integration,
        )
        for refusing in alarm_conditions.refusing_sources(work, REFUSAL_CAUSES)
    }


def _counted(events: int) -> str:
    return f"{events:,}" if events < alarm_conditions.MOST_COUNTED else f"{events:,} or more"


def _refused(work: Work, limits: AlarmThresholds) -> Mapping[str, Found]:
    return {
        refused.integration: Found(
            f"{refused.times:,} webhooks of {refused.integration} were refused within an hour: {refused.reason}. "
            f"{_advice_on(refused.reason, refused.integration)}{_what_starts(work, refused.integration)}",
            refused.times,
            integration=None if workflow_webhooks.webhook_in(refused.integration) else refused.integration,
        )
        for refused in alarm_conditions.refused_webhooks(work, limits.refused)
    }


def _advice_on(reason: str, sender: str) -> str:
    if reason == refused_webhooks.CARD_DATA:
        return "Have the sender leave it out: the hub takes tokens of payment providers only"
    return f"Compare the key in the connection {webhooks_in.connection_of(sender)} with the sender's"


def _what_starts(work: Work, sender: str) -> str:
    """Name the workflow that the deliveries would have started; empty for those of an integration."""
    webhook = workflow_webhooks.webhook_in(sender)
    started = workflow_repository.deployed_webhooks(work, [webhook]) if webhook is not None else []
    return "".join(f". They start the workflow {workflow_id}" for _, workflow_id in started)


def _unresolved(work: Work, limits: AlarmThresholds) -> Mapping[str, Found]:
    return {
        unresolved.integration: Found(
            f"The outcome of calls that write to {unresolved.integration} is unknown: {unresolved.attempts:,}, the oldest for "
            f"{unresolved.since_s / 60:.0f} minutes. Such a call is not sent again until its outcome is known",
            unresolved.attempts,
            tuple(f"attempt {attempt}" for attempt in unresolved.examples),
            unresolved.integration,
        )
        for unresolved in alarm_conditions.unresolved_attempts(work, limits.unresolved)
    }


def _unknown_payments(work: Work, limits: AlarmThresholds) -> Mapping[str, Found]:
    return {
        unknown.gateway: Found(
            f"What became of payments at {unknown.gateway} is unknown: {unknown.payments:,}, the oldest for "
            f"{unknown.since_s / 60:.0f} minutes ({unknown.examples[0]}). No other gateway is asked for them until it is known",
            unknown.payments,
            tuple(f"payment {payment}" for payment in unknown.examples),
            unknown.gateway,
        )
        for unknown in alarm_conditions.unknown_payments(work, limits.payment_unknown)
    }


def _waiting_orders(work: Work) -> Mapping[str, Found]:
    waiting = alarm_conditions.waiting_executions(work)
    if not waiting.number:
        return {}
    return {
        "orders": Found(
            f"{waiting.number:,} {'order or workflow' if waiting.number == 1 else 'orders or workflows'} cannot go on: "
            "nobody knows what became of a step, or it does not succeed",
            waiting.number,
            tuple(waiting.examples),
        )
    }


def _doubled_payments(work: Work) -> Mapping[str, Found]:
    return {
        doubled.payment_id: Found(
            f"The payment {doubled.payment_id} ({doubled.reference}) has {doubled.authorisations} authorisations that hold or "
            "have taken the customer's money. Void or refund all but one",
            doubled.authorisations,
        )
        for doubled in alarm_conditions.doubled_payments(work)
    }


def _taken_back_payments(work: Work) -> Mapping[str, Found]:
    return {
        taken.payment_id: Found(
            f"The gateway took back a capture of the payment {taken.payment_id} ({taken.reference}): {taken.minor:,} "
            f"{taken.currency} (minor units) that the hub counted on are not paid"
        )
        for taken in alarm_conditions.taken_back_payments(work)
    }


def _disputed_payments(work: Work) -> Mapping[str, Found]:
    return {
        disputed.payment_id: Found(
            f"The payment {disputed.payment_id} ({disputed.reference}) is disputed at {disputed.gateways}. It can be answered "
            f"there until {disputed.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC; afterwards the money is lost"
        )
        for disputed in alarm_conditions.disputed_payments(work)
    }
