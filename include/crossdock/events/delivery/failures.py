"""Decide what becomes of events that were not delivered: when each is retried, and when it becomes a dead letter."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta

from crossdock.core.errors import IntegrationPaused
from crossdock.core.log import logger
from crossdock.db.database import Work
from crossdock.events.delivery import retry_repository, source_outages
from crossdock.events.delivery.attempt import Failed, Outcome, Verdict
from crossdock.events.delivery.consumer_leases import Claim
from crossdock.events.delivery.retry_repository import RetryRecord
from crossdock.events.model import Event
from crossdock.events.subscriber import Subscriber

log = logger(__name__)

#: The longest backoff between two attempts.
_MAX_WAIT_S = 600.0
#: The longest backoff between two probes, since events still wait that long after an outage has ended. Also the interval
#: of probes during a pause, whose end triggers one at once.
_MAX_PROBE_WAIT_S = 60.0
#: The backoff where the system refuses us: a person has to act, whose change triggers a probe at once, and some systems
#: lock an account after a few refusals.
_REFUSED_WAIT_S, _MAX_REFUSED_WAIT_S = 15.0, 300.0
#: 2 ** 30 s are above every longest wait, and an outage of weeks must not end as an OverflowError.
_DOUBLINGS = 30


@dataclass(frozen=True)
class Attempt:
    """An event as it came, with the number of its attempts, the current one included."""

    event: Event
    attempts: int
    #: True where the attempt was recorded before it was made.
    is_recorded: bool


def record(
    work: Work, claim: Claim, subscriber: Subscriber, outcome: Outcome, attempt_of: Callable[[Event], Attempt]
) -> None:
    """Record each failed event with the time of its next attempt or as a dead letter, and the events blocked by it."""
    records = [_record_of(subscriber, failed, attempt_of(failed.event)) for failed in outcome.failed]
    records += [RetryRecord(event=event, state="waiting") for event in outcome.blocked]
    retry_repository.upsert(work, claim, records)


def _record_of(subscriber: Subscriber, failed: Failed, attempt: Attempt) -> RetryRecord:
    attempts = 0 if attempt.is_recorded else 1
    state, wait = "retrying", timedelta(seconds=wait_s(subscriber, attempt.attempts))
    if not failed.verdict.blames_the_event:
        attempts -= 1
        # During an outage the event is due at once: it waits for the probe, not for a time.
        wait = timedelta(seconds=subscriber.first_wait_s if failed.verdict is Verdict.IN_USE else 0)
    elif failed.verdict in (Verdict.TERMINAL, Verdict.UNKNOWN) or attempt.attempts >= subscriber.attempts:
        state = "dead"
    return RetryRecord(event=attempt.event, state=state, failure=failed.failure, wait=wait, attempts=attempts)


def wait_s(subscriber: Subscriber, attempts: int) -> float:
    """Exponential backoff: the seconds until an event that failed *attempts* times is retried."""
    return min(subscriber.first_wait_s * 2.0 ** min(attempts - 1, _DOUBLINGS), _MAX_WAIT_S)


def begin_outages(
    work: Work, claim: Claim, subscriber: Subscriber, outcome: Outcome, known: Collection[str] = ()
) -> None:
    """Pause the sources that turned out to be down in this attempt; *known* ones were not called."""
    found = {failure.event.source: failure for failure in outcome.failed if failure.verdict.pauses_the_source}
    for source, failed in found.items():
        if source in known:
            continue
        if source_outages.begin(work, claim.subscriber, source, failed.failure, probe_wait(subscriber, failed, 0)):
            log.warning("%s: events of %s wait: %s", claim.subscriber, source, failed.failure.reason)


def probe_wait(subscriber: Subscriber, failed: Failed, probes: int) -> timedelta:
    """Backoff until the source of *failed* is probed again, after *probes* probes of this outage."""
    if failed.failure.cause == IntegrationPaused.__name__:
        return timedelta(seconds=_MAX_PROBE_WAIT_S)
    # The first probe comes soon: it may have been one record that is refused, not the hub.
    if failed.verdict is Verdict.SOURCE_REFUSES and probes:
        return timedelta(seconds=min(_REFUSED_WAIT_S * 2.0 ** min(probes - 1, _DOUBLINGS), _MAX_REFUSED_WAIT_S))
    usual_s = min(subscriber.first_wait_s * 2.0 ** min(probes, _DOUBLINGS), _MAX_PROBE_WAIT_S)
    return timedelta(seconds=max(usual_s, min(failed.retry_in_s, _MAX_WAIT_S)))
