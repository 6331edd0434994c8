"""What becomes of events that were not delivered: when each is tried again, and when nobody does any more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta

from crossdock.core.errors import IntegrationPaused
from crossdock.db.database import Work
from crossdock.events.delivery import retry_repository as event_retries
from crossdock.events.delivery import source_outages as event_outages
from crossdock.events.delivery.attempt import Failed, Outcome, Verdict
from crossdock.events.delivery.consumer_leases import Claim
from crossdock.events.delivery.retry_repository import Kept
from crossdock.events.model import Event
from crossdock.events.subscriber import Subscriber

log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 600.0
#: So long after its end an outage may still keep events waiting; and between two looks at a pause, whose end asks at once.
_LONGEST_PROBE_WAIT_S = 60.0
#: 2 ** 30 s are above every longest wait, and an outage of weeks must not end as an OverflowError.
_DOUBLINGS = 30


@dataclass(frozen=True)
class Tried:
    """An event as it came, with its tries, this one included; and whether this one was noted before it was made."""

    event: Event
    attempts: int
    is_noted: bool


def keep(work: Work, claim: Claim, subscriber: Subscriber, outcome: Outcome, tried: Callable[[Event], Tried]) -> None:
    """Each failed event with the time of its next try, or as a dead letter; and what waits behind them."""
    kept = [_kept(subscriber, each, tried(each.event)) for each in outcome.failed]
    kept += [Kept(event=event, state="waiting") for event in outcome.behind]
    event_retries.keep(work, claim, kept)


def _kept(subscriber: Subscriber, failed: Failed, tried: Tried) -> Kept:
    tries = 0 if tried.is_noted else 1
    state, wait = "retrying", timedelta(seconds=wait_s(subscriber, tried.attempts))
    if not failed.verdict.blames_the_event:
        tries -= 1
        # During an outage it is due at once: what it waits for is the probe.
        wait = timedelta(seconds=subscriber.first_wait_s if failed.verdict is Verdict.IN_USE else 0)
    elif failed.verdict is Verdict.FINAL or tried.attempts >= subscriber.attempts:
        state = "dead"
    return Kept(event=tried.event, state=state, failure=failed.failure, wait=wait, tries=tries)


def wait_s(subscriber: Subscriber, attempts: int) -> float:
    """Seconds until an event is tried again that was tried *attempts* times."""
    return min(subscriber.first_wait_s * 2.0 ** min(attempts - 1, _DOUBLINGS), _LONGEST_WAIT_S)


def begin_outages(
    work: Work, claim: Claim, subscriber: Subscriber, outcome: Outcome, known: Collection[str] = ()
) -> None:
    """The sources that turned out to be out in this try; none of those that were *known* to be and were not asked."""
    found = {each.event.source: each for each in outcome.failed if each.verdict is Verdict.OUTAGE}
    for source, failed in found.items():
        if source in known:
            continue
        if event_outages.begin(work, claim.subscriber, source, failed.failure, probe_wait(subscriber, failed, 0)):
            log.warning("%s: %s is out, and its events wait: %s", claim.subscriber, source, failed.failure.reason)


def probe_wait(subscriber: Subscriber, failed: Failed, probes: int) -> timedelta:
    """Until *failed*'s source is asked again whether its outage is over, which it was *probes* times."""
    if failed.failure.cause == IntegrationPaused.__name__:
        return timedelta(seconds=_LONGEST_PROBE_WAIT_S)
    usual_s = min(subscriber.first_wait_s * 2.0 ** min(probes, _DOUBLINGS), _LONGEST_PROBE_WAIT_S)
    return timedelta(seconds=max(usual_s, min(failed.retry_in_s, _LONGEST_WAIT_S)))
