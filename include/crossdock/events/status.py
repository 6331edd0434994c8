"""Where the delivery of events stands: lag, failures and volumes, and what is unusual about them."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from datetime import timedelta

import msgspec

from crossdock.db.database import Store
from crossdock.events import store as event_log
from crossdock.events.dead_letters import repository as failed_deliveries
from crossdock.events.delivery import consumer_leases as event_readers
from crossdock.events.delivery import source_outages as event_outages
from crossdock.events.delivery.source_outages import Outage
from crossdock.events.replay import repository as event_replays
from crossdock.events.replay.repository import Replay
from crossdock.events.subscriber import Subscriber

#: How far from the usual an hour must be to be told, in standard deviations, and what it must differ by at least.
_DEVIATIONS = 4.0
_LEAST_DIFFERENCE = 20
#: Fewer hours since the first event say nothing of what is usual.
_HOURS_TO_JUDGE = 8


class SubscriberStanding(msgspec.Struct, frozen=True, kw_only=True):
    subscriber: str
    #: Events that it hears and has not had.
    waiting: int
    oldest_s: float
    retrying: int
    dead: int
    #: Partitions with a live reader, of all, as "2 of 2"; "never started" where no delivery has known the subscriber yet.
    read_by: str
    #: Sources whose events wait until they answer again; they are among the retrying.
    out: tuple[Outage, ...] = ()


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    events: int
    #: Failed deliveries of that type that are open.
    failed: int
    #: What the running hour has that the others have not; None when nothing.
    unusual: str | None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    subscribers: tuple[SubscriberStanding, ...]
    volumes: tuple[Volume, ...]
    replays: tuple[Replay, ...]
    #: Age of the oldest open write transaction of the server; nothing newer is delivered.
    horizon_age_s: float


def standing(store: Store, subscribers: Mapping[str, Subscriber], within: timedelta) -> Standing:
    """As it is now; the volumes of the time *within*."""
    with store.transaction() as work:
        readers = event_readers.standings(work)
        states = {(name, state): number for name, state, number in failed_deliveries.states(work)}
        lags = {name: event_readers.lag(work, name, subscriber.types) for name, subscriber in subscribers.items()}
        hours = event_log.hourly(work, within)
        failed = failed_deliveries.open_by_type(work)
        replays = event_replays.newest(work)
        outages = event_outages.standings(work)
        horizon_age_s = event_log.horizon_age_s(work)
    standings = []
    for name in subscribers:
        theirs = [reader for reader in readers if reader.subscriber == name]
        waiting, oldest_s = lags[name]
        standings.append(
            SubscriberStanding(
                subscriber=name,
                waiting=waiting,
                oldest_s=oldest_s,
                retrying=states.get((name, "retrying"), 0),
                dead=states.get((name, "dead"), 0),
                read_by=f"{sum(reader.alive for reader in theirs)} of {len(theirs)}" if theirs else "never started",
                out=tuple(outages.get(name, ())),
            )
        )
    volumes = tuple(
        Volume(type=type_, events=sum(counts), failed=failed.get(type_, 0), unusual=unusual(counts))
        for type_, counts in hours.items()
    )
    return Standing(subscribers=tuple(standings), volumes=volumes, replays=tuple(replays), horizon_age_s=horizon_age_s)


def unusual(hours: Sequence[int]) -> str | None:
    """What sets the newest of *hours* (events in each, oldest first, the running one last) apart; None when nothing does."""
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
