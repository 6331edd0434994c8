"""How long everything is kept that is not an event, and letting go of the rest."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from crossdock.db.database import Store, Work
from crossdock.maintenance import retention_repository as retention
from crossdock.sync.landing import Landing, LandingUnavailable

log = logging.getLogger(__name__)

#: Rows of one transaction: a few milliseconds, since an open one keeps every event reader waiting.
_ROWS = 5_000
#: Runs whose pages go: each has files, and some hundred rows that tell of them.
_RUNS = 50
#: Runs that are looked at: of most, nothing is left but a row and its batches.
_RUNS_SEEN = 1_000


@dataclass(frozen=True)
class Keep:
    """How long after its end each is kept."""

    #: Landed pages and checked batches of runs.
    landing: timedelta = timedelta(days=30)
    #: Runs in the ledger.
    ledger: timedelta = timedelta(days=365)
    #: Runs of single records that webhooks asked for, with their pages: they come by the thousand.
    pulls: timedelta = timedelta(days=7)
    #: What others call their events: for so long, one that comes again is known.
    identities: timedelta = timedelta(days=400)
    #: Closed letters and alerts, ended replays, counts of refused webhooks.
    closed: timedelta = timedelta(days=90)
    #: The place of a subscriber that no code knows any more.
    readers: timedelta = timedelta(days=30)


def let_go(
    store: Store, landing: Landing | None, keep: Keep, *, subscribers: Collection[str], now: datetime
) -> Iterator[None]:
    """
    One round over all that is past its time, a short transaction at each step; told in one line of the log at its end.

    May be left at any step and begun anew. History of entities, open and dead items and the audit trail are never
    touched; without a *landing* its files and what tells of them stay.

    Raises:
        StoreUnavailable, LandingUnavailable: passing; the next round goes on.

    """
    went: Counter[str] = Counter()
    for what, forget in _rules(keep, now):
        yield from _all_of(store, what, forget, went)
    yield from _subscribers(store, subscribers, now - keep.readers, went)
    stuck = None
    if landing is not None:
        stuck = yield from _pages(store, landing, keep, now, went)
    yield from _runs(store, _run_ends(now, keep.ledger, keep), went)
    if went:
        told = ", ".join(f"{number:,} {what}" for what, number in sorted(went.items()))
        log.info("Past their time and gone: %s", told, extra={"event": "retention"})
    if stuck:
        raise stuck


#: Takes away a bounded number, and says how many.
_Forget = Callable[[Work], int]


def _rules(keep: Keep, now: datetime) -> tuple[tuple[str, _Forget], ...]:
    ended = now - keep.closed
    return (
        ("ids of events", partial(retention.forget_identities, before=now - keep.identities, limit=_ROWS)),
        ("closed letters", partial(retention.forget_letters, before=ended, limit=_ROWS)),
        ("ended replays", partial(retention.forget_replays, before=ended, limit=_ROWS)),
        ("closed alerts", partial(retention.forget_alerts, before=ended, limit=_ROWS)),
        ("counts of refused webhooks", partial(retention.forget_refusals, before=ended, limit=_ROWS)),
    )


def _all_of(store: Store, what: str, forget: _Forget, went: Counter[str]) -> Iterator[None]:
    number = _ROWS
    while number >= _ROWS:
        with store.transaction() as work:
            number = forget(work)
        went.update({what: number} if number else {})
        yield


def _subscribers(store: Store, known: Collection[str], before: datetime, went: Counter[str]) -> Iterator[None]:
    """Its place goes last: interrupted before, the next round finds it again."""
    with store.transaction() as work:
        removed = retention.removed_subscribers(work, known, before)
    for name in removed:
        yield from _all_of(
            store, "events in inboxes", partial(retention.forget_inbox, subscriber=name, limit=_ROWS), went
        )
        with store.transaction() as work:
            retention.forget_reader(work, name, before)
        log.warning(
            "Nobody has read for the subscriber %s since %s, and no code knows it: its place in the store is gone and "
            "holds no month back any more. Its dead letters stay",
            name,
            f"{before:%Y-%m-%d}",
        )
        yield


def _runs(store: Store, ends: tuple[datetime, datetime], went: Counter[str]) -> Iterator[None]:
    seen: tuple[datetime, str] | None = retention.FIRST_RUN
    while seen:
        with store.transaction() as work:
            number, seen = retention.forget_runs(work, *ends, seen, limit=_RUNS_SEEN)
        went.update({"runs": number} if number else {})
        yield


def _run_ends(now: datetime, kept: timedelta, keep: Keep) -> tuple[datetime, datetime]:
    """Before when a run ended that is *kept* no longer; one that a webhook asked for goes earlier."""
    return now - kept, now - min(kept, keep.pulls)


def _pages(
    store: Store, landing: Landing, keep: Keep, now: datetime, went: Counter[str]
) -> Generator[None, None, LandingUnavailable | None]:
    """
    First nobody may go on with the run, then its files go, then what tells of them: at each step it can be done anew.

    What came in the way last, where files could not go: theirs stay, and keep no other run's.
    """
    ends = _run_ends(now, min(keep.landing, keep.ledger), keep)
    number, error, stuck = _RUNS, None, list[str]()
    # So many that the landing itself is out: it need not be asked for all of a year's.
    while number >= _RUNS > len(stuck):
        with store.transaction() as work:
            run_ids = retention.clear_landing(work, *ends, but=stuck, limit=_RUNS)
        gone = []
        for run_id in run_ids:
            try:
                landing.remove(run_id)
                gone.append(run_id)
            except LandingUnavailable as in_the_way:
                error = in_the_way
                stuck.append(run_id)
            yield
        with store.transaction() as work:
            retention.forget_pages(work, gone)
        number = len(run_ids)
        went.update({"runs' pages": len(gone)} if gone else {})
        yield
    return error
