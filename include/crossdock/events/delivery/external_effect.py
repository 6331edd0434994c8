"""External side effects: carried out while no transaction is open in the hub's database, and recorded afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from crossdock.core.failpoints import failpoint
from crossdock.db.database import Store, Work
from crossdock.events.dead_letters.repository import Failure
from crossdock.events.delivery import inbox
from crossdock.events.delivery.attempt import Outcome, Recipient, SubscriberNotConfigured, Verdict, bisect
from crossdock.events.delivery.lease_renewal import LeaseGuard
from crossdock.events.model import Event
from crossdock.events.schemas import upcast


def deliver_once(
    store: Store,
    recipient: Recipient,
    events: Sequence[Event],
    guard: LeaseGuard,
    paused: Mapping[str, Failure],
) -> Callable[[Work], Outcome]:
    """
    Deliver the *events* that the inbox does not have, as `deliver` does; return a function that records them.

    The returned function runs in the transaction that moves the cursor. A worker that is killed before that commit
    delivers the events again, so the side effect must be idempotent.
    """
    with store.question() as work:
        fresh = inbox.unseen(work, recipient.name, events)
    outcome = deliver(recipient, fresh, guard, paused)
    delivered = list(outcome.delivered)
    if len(fresh) < len(events):
        positions = {event.at for event in fresh}
        outcome.delivered += [event for event in events if event.at not in positions]

    failpoint("deliver.delivered")

    def record(work: Work) -> Outcome:
        inbox.add(work, recipient.name, delivered)
        return outcome

    return record


def deliver(
    recipient: Recipient,
    events: Sequence[Event],
    guard: LeaseGuard,
    paused: Mapping[str, Failure] | None = None,
) -> Outcome:
    """
    Deliver *events* to the external system, in order per key; no transaction is open and nothing is recorded yet.

    Each source has calls of its own, since the outage of one must not fail the events of another. Events of a source
    that is in *paused*, or that turns out to be down, are not delivered. *guard* renews the caller's leases during each
    call, for at most `effect_timeout_s` of the subscriber.

    Raises:
        StoreUnavailable: the hub's own database failed.
        LeaseLost: raised by *guard*; another worker has these events.

    """
    outcome, known = Outcome(), dict(paused or {})

    def act(some: Sequence[Event]) -> None:
        with guard.renewal.during(recipient.subscriber.effect_timeout_s):
            call_external(recipient, some)

    for source, some in _by_source(events):
        if source in known:
            outcome.fail(outcome.without_blocked(some), known[source], Verdict.SOURCE_OUTAGE)
            continue
        bisect(recipient, some, outcome, act, guard.check)
        known |= {failed.event.source: failed.failure for failed in outcome.failed if failed.verdict.pauses_the_source}
    return outcome


def call_external(recipient: Recipient, events: Sequence[Event]) -> None:
    """Call the subscriber with *events*, upcast to their newest version, without regard to the inbox."""
    if recipient.subscriber.deliver is None:
        raise SubscriberNotConfigured("This subscriber has no external side effect")
    recipient.subscriber.deliver([upcast(event) for event in events])


def _by_source(events: Sequence[Event]) -> Iterable[tuple[str, list[Event]]]:
    """
    Group *events* by source, keeping the order of each key.

    As few groups as that allows: a key with events of two sources is in another round each time the source changes.
    """
    last: dict[str, tuple[int, str]] = {}
    groups: dict[tuple[int, str], list[Event]] = {}
    for event in events:
        round_no, source = last.get(event.partition_key, (0, event.source))
        group = (round_no if source == event.source else round_no + 1), event.source
        last[event.partition_key] = group
        groups.setdefault(group, []).append(event)
    return ((source, groups[round_no, source]) for round_no, source in sorted(groups, key=lambda group: group[0]))
