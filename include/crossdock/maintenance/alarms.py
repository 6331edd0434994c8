"""What needs a person: looked for every half minute, opened as an alert when it begins, closed when it ends."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from crossdock.db.database import Store, Work
from crossdock.events import store as event_log
from crossdock.events.subscriber import Subscriber
from crossdock.maintenance import alarm_conditions as conditions
from crossdock.observability import alerts

log = logging.getLogger(__name__)

#: Causes of dead letters that are named.
_CAUSES = 3


@dataclass(frozen=True)
class Limits:
    """From where on somebody is told."""

    #: The age of the oldest open write transaction.
    horizon_s: float = 30.0
    #: How long nobody reads a key partition in which events wait.
    unread: timedelta = timedelta(seconds=30)
    #: How long a breaker is not closed.
    broken: timedelta = timedelta(minutes=5)
    #: Refused webhooks of an integration within the hour.
    refused: int = 10


#: Subject → what is wrong with it.
Found = Mapping[str, str]


def look(store: Store, subscribers: Mapping[str, Subscriber], limits: Limits) -> None:
    """
    Open alerts are what is wrong now. Begun and ended ones are told in the log, once each.

    First everything is asked, then what was found is written: a question may take long, and a transaction may not.
    """
    with store.question() as work:
        found = {
            "event_horizon": _horizon(work, limits),
            "dead_letters": _dead_letters(work),
            "events_unread": _unread(work, subscribers, limits),
            "breaker_open": _broken(work, limits),
            "webhooks_refused": _refused(work, limits),
            "run_late": conditions.still_late(work),
        }
    with store.transaction() as work:
        changed = [alerts.hold(work, kind, what) for kind, what in found.items()]
    for each in changed:
        for message in each.begun:
            log.warning("Alert: %s", message)
        for message in each.ended:
            log.info("Over: %s", message)


def _horizon(work: Work, limits: Limits) -> Found:
    age_s = event_log.horizon_age_s(work)
    if age_s <= limits.horizon_s:
        return {}
    return {
        "the hub's database server": (
            f"A transaction on the hub's database server is open for {age_s:.0f} s: no event that is newer is "
            "delivered. pg_stat_activity has it, where backend_xid is not null"
        )
    }


def _dead_letters(work: Work) -> Found:
    return {
        subscriber: (
            f"{subscriber} could not take {sum(causes.values()):,} events: "
            + ", ".join(f"{number:,} {cause}" for cause, number in list(causes.items())[:_CAUSES])
            + (" and others" if len(causes) > _CAUSES else "")
        )
        for subscriber, causes in conditions.dead_letters(work).items()
    }


def _unread(work: Work, subscribers: Mapping[str, Subscriber], limits: Limits) -> Found:
    return {
        f"{each.subscriber}/{each.partition}": (
            f"Nobody has read the events of {each.subscriber}/{each.partition} for {each.since_s:.0f} s, and some wait. "
            "Do the DAGs deliver_events run?"
        )
        for name, subscriber in subscribers.items()
        for each in conditions.unread(work, name, subscriber.types, limits.unread)
    }


def _broken(work: Work, limits: Limits) -> Found:
    return {
        integration: (
            f"The calls to {integration} have been failing for {open_s / 60:.0f} minutes, and most are not made any more"
        )
        for integration, open_s in conditions.broken(work, limits.broken).items()
    }


def _refused(work: Work, limits: Limits) -> Found:
    return {
        each.integration: (
            f"{each.times:,} webhooks of {each.integration} were refused within the hour: {each.reason}. Compare the key "
            f"in the connection {each.integration}_webhook with the sender's"
        )
        for each in conditions.refused_webhooks(work, limits.refused)
    }
