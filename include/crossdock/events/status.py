"""The status of the delivery: lag, failures, and volumes with their anomalies."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from datetime import timedelta

import msgspec

from crossdock.db.database import Store, Work
from crossdock.events import counts_repository
from crossdock.events import store as event_store
from crossdock.events.dead_letters import repository as dead_letter_repository
from crossdock.events.delivery import consumer_leases, source_outages
from crossdock.events.delivery.source_outages import SourceOutage
from crossdock.events.subscriber import Subscriber

#: From how many standard deviations, and from which difference, an hour is reported as unusual.
_DEVIATIONS = 4.0
_LEAST_DIFFERENCE = 20
#: With fewer hours since the first event, nothing can be said about what is usual.
_HOURS_TO_JUDGE = 8


class SubscriberStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The lag, the failures and the paused sources of one subscriber."""

    subscriber: str
    #: Events of its types that it has not had yet.
    waiting: int
    oldest_s: float
    retrying: int
    dead: int
    #: Its key partitions, 0 before its first consumer started; and those that have a live consumer now.
    partitions: int
    consumed: int
    #: Paused sources, whose events wait until they answer; these events count as retrying.
    out: tuple[SourceOutage, ...] = ()

    @property
    def read_by(self) -> str:
        """How many of its partitions have a live consumer, for people."""
        return f"{self.consumed} of {self.partitions}" if self.partitions else "never started"


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """The number of events of one type."""

    type: str
    events: int
    #: Open failed deliveries of that type.
    failed: int
    #: How the last hours differ from the usual ones; None where they do not.
    unusual: str | None


class DeliveryStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of the delivery as a whole."""

    subscribers: tuple[SubscriberStatus, ...]
    volumes: tuple[Volume, ...]
    #: Age of the oldest open write transaction of the server; nothing newer is delivered.
    horizon_age_s: float


def delivery_status(store: Store, subscribers: Mapping[str, Subscriber], within: timedelta) -> DeliveryStatus:
    """Read the current status, with the volumes of the time *within*."""
    with store.transaction() as work:
        statuses = subscriber_statuses(work, subscribers)
        hours = counts_repository.hourly(work, within)
        failed = dead_letter_repository.open_by_type(work)
        horizon_age_s = event_store.horizon_age_s(work)
    volumes = tuple(
        Volume(type=type_, events=sum(counts), failed=failed.get(type_, 0), unusual=unusual(counts))
        for type_, counts in hours.items()
    )
    return DeliveryStatus(subscribers=statuses, volumes=volumes, horizon_age_s=horizon_age_s)


def subscriber_statuses(work: Work, subscribers: Mapping[str, Subscriber]) -> tuple[SubscriberStatus, ...]:
    """Read lag, failures and paused sources of each subscriber."""
    consumers = consumer_leases.list_all(work)
    states = {(name, state): number for name, state, number in dead_letter_repository.states(work)}
    lags = consumer_leases.lags(work, {name: subscriber.types for name, subscriber in subscribers.items()})
    outages = source_outages.list_all(work)
    statuses = []
    for name in subscribers:
        theirs = [consumer for consumer in consumers if consumer.subscriber == name]
        waiting, oldest_s = lags[name]
        statuses.append(
            SubscriberStatus(
                subscriber=name,
                waiting=waiting,
                oldest_s=oldest_s,
                retrying=states.get((name, "retrying"), 0),
                dead=states.get((name, "dead"), 0),
                partitions=len(theirs),
                consumed=sum(consumer.alive for consumer in theirs),
                out=tuple(outages.get(name, ())),
            )
        )
    return tuple(statuses)


def unusual(hours: Sequence[int]) -> str | None:
    """Describe how the last of *hours* (events per hour, oldest first, the current one last) differ from the usual."""
    since_first = list(itertools.dropwhile(lambda events: not events, hours))
    if len(since_first) < _HOURS_TO_JUDGE:
        return None
    *others, last, running = since_first
    usual, spread = statistics.fmean(others), statistics.pstdev(others)
    limit = max(_DEVIATIONS * spread, _LEAST_DIFFERENCE)
    if running - usual > limit:
        return f"{running:,} in this hour already, usually about {usual:,.0f}"
    if abs(last - usual) > limit:
        return f"{last:,} in the last hour, usually about {usual:,.0f}"
    return None
