"""Effects outside the hub's database: had while nothing is open in it, and noted afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from crossdock.core.failpoints import failpoint
from crossdock.db.database import Store, Work
from crossdock.events.dead_letters.repository import Failure
from crossdock.events.delivery import inbox as event_inbox
from crossdock.events.delivery.attempt import Outcome, Recipient, SubscriberUnable, Verdict, halved
from crossdock.events.delivery.lease_renewal import Holding
from crossdock.events.model import Event
from crossdock.events.schemas import upcast


def told_once(
    store: Store,
    recipient: Recipient,
    events: Sequence[Event],
    holding: Holding,
    out: Mapping[str, Failure],
) -> Callable[[Work], Outcome]:
    """
    Those of *events* that were not had before, told as by `tell`; and what notes them, in the transaction of the cursor.

    Killed before that commit, the effects may come twice and must not mind.
    """
    with store.question() as work:
        fresh = event_inbox.unseen(work, recipient.name, events)
    outcome = tell(recipient, fresh, holding, out)
    had = list(outcome.delivered)
    if len(fresh) < len(events):
        places = {event.at for event in fresh}
        outcome.delivered += [event for event in events if event.at not in places]

    failpoint("deliver.told")

    def note(work: Work) -> Outcome:
        event_inbox.add(work, recipient.name, had)
        return outcome

    return note


def tell(
    recipient: Recipient,
    events: Sequence[Event],
    holding: Holding,
    out: Mapping[str, Failure] | None = None,
) -> Outcome:
    """
    *events* told to the system outside, in order per key; nothing is open in the database, and nothing noted yet.

    Each source by itself, since one that is out must not fail another's events. Those of a source that is *out*,
    or that turns out to be, are not told at all. *holding* keeps the caller's leases during each call, for as long as
    the subscriber's effect may take.

    Raises:
        StoreUnavailable: the hub's own database was in the way.
        LeaseLost: by *holding*; another worker has these events.

    """
    outcome, known = Outcome(), dict(out or {})

    def act(some: Sequence[Event]) -> None:
        with holding.keeper.during(recipient.subscriber.effect_timeout_s):
            have_effect_elsewhere(recipient, some)

    for source, some in _by_source(events):
        if source in known:
            outcome.fail(outcome.held_back(some), known[source], Verdict.OUTAGE)
            continue
        halved(recipient, some, outcome, act, holding.check)
        known |= {each.event.source: each.failure for each in outcome.failed if each.verdict is Verdict.OUTAGE}
    return outcome


def have_effect_elsewhere(recipient: Recipient, events: Sequence[Event]) -> None:
    """The subscriber's reaction to *events* outside, in their newest version, whatever the inbox has."""
    if recipient.subscriber.apply_elsewhere is None or recipient.puller is None:
        raise SubscriberUnable("This subscriber needs what this worker was not given")
    recipient.subscriber.apply_elsewhere(recipient.puller, [upcast(event) for event in events])


def _by_source(events: Sequence[Event]) -> Iterable[tuple[str, list[Event]]]:
    """
    *events* in parts of one source each, no event before an earlier one of its key.

    As few as that allows: a key of which two sources tell is in another round each time the source changes.
    """
    last: dict[str, tuple[int, str]] = {}
    parts: dict[tuple[int, str], list[Event]] = {}
    for event in events:
        turn, source = last.get(event.partition_key, (0, event.source))
        part = (turn if source == event.source else turn + 1), event.source
        last[event.partition_key] = part
        parts.setdefault(part, []).append(event)
    return ((source, parts[turn, source]) for turn, source in sorted(parts, key=lambda part: part[0]))
