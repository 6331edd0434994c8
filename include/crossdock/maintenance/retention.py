"""Retention of everything but events: how long each kind of data is kept, and the deletion of what has expired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from crossdock.core.log import logger
from crossdock.db import idempotency
from crossdock.db.database import Store, Work
from crossdock.maintenance import retention_repository
from crossdock.sync.landing import Landing, LandingUnavailable

log = logger(__name__)

#: Rows of one transaction: a few milliseconds, since an open one delays all event consumers.
_ROWS = 5_000
#: Runs whose pages are deleted in one step: each has files, and some hundred index rows.
_RUNS = 50
#: Runs checked in one step: most have nothing left but a row and its batches.
_RUNS_SEEN = 1_000
#: A fetch takes seconds, on the slowest machine some minutes.
_ABANDONED_AFTER = timedelta(hours=6)


@dataclass(frozen=True)
class RetentionPeriods:
    """The retention period of each kind of data."""

    #: Landed pages and checked batches of runs.
    landing: timedelta = timedelta(days=30)
    #: Runs in the ledger.
    ledger: timedelta = timedelta(days=365)
    #: Runs that fetched single records for webhooks, with their pages: there are thousands of them.
    fetch_runs: timedelta = timedelta(days=7)
    #: Ids of received events: for this long, a repeated event is recognised. Facts of payments that the hub does not know.
    identities: timedelta = timedelta(days=400)
    #: Closed dead letters and alerts, messages of alerts, ended mutes and replays, counts of refused webhooks, last known reads,
    #: recipients of mails, tokens and customers of payments and orders.
    closed: timedelta = timedelta(days=90)
    #: Cursors of a subscriber that was removed from the code.
    consumers: timedelta = timedelta(days=30)
    #: Answers of REST calls: for this long, a client may send its request again.
    answers: timedelta = timedelta(hours=24)
    #: Attempts whose outcome is known. Longer than any system replays a key: a key without its row would be sent again.
    attempts: timedelta = timedelta(days=400)
    #: Orders, and payments with all that gateways said of them: as long as the books of a shop are kept.
    payments: timedelta = timedelta(days=3_650)


def purge_expired(
    store: Store,
    landing: Landing | None,
    keep: RetentionPeriods,
    *,
    subscribers: Collection[str],
    now: datetime,
    deleted: Counter[str] | None = None,
) -> Iterator[None]:
    """
    Delete what has expired, a short transaction per step; log one line at the end, and count into *deleted*.

    May be interrupted at any step and started again. The history of records, open and dead items and the audit trail
    are never deleted; without a *landing*, its files and their index stay.

    Raises:
        StoreUnavailable, LandingUnavailable: transient; the next round continues.

    """
    deleted = Counter() if deleted is None else deleted
    yield from _abandoned(store, now, deleted)
    for what, delete in _rules(keep, now):
        yield from _all_of(store, what, delete, deleted)
    yield from _subscribers(store, subscribers, now - keep.consumers, deleted)
    stuck = None
    if landing is not None:
        stuck = yield from _pages(store, landing, keep, now, deleted)
    yield from _runs(store, _run_ends(now, keep.ledger, keep), deleted)
    if deleted:
        counts = ", ".join(f"{number:,} {what}" for what, number in sorted(deleted.items()))
        log.info("Retention deleted %s", counts, extra={"event": "retention"})
    if stuck:
        raise stuck


def expired(store: Store, keep: RetentionPeriods, now: datetime) -> dict[str, int]:
    """
    Count what `purge_expired` would delete, without deleting it; each kind up to SEEN, since it is tried and rolled back.

    What goes with a removed subscriber, and partitions of events, are not counted.
    """
    ends = _run_ends(now, min(keep.landing, keep.ledger), keep)
    tried: tuple[tuple[str, _Delete], ...] = (*_rules(keep, now), ("runs' pages", partial(_cleared, ends=ends)))
    found = {}
    for what, delete in tried:
        with store.transaction() as work, work.transaction(force_rollback=True):
            found[what] = delete(work)
    return {what: number for what, number in found.items() if number}


#: A count of `expired` that is as large means that there are more.
SEEN = _ROWS


def _cleared(work: Work, ends: tuple[datetime, datetime]) -> int:
    return len(retention_repository.clear_landing(work, *ends, limit=_ROWS))


def _abandoned(store: Store, now: datetime, deleted: Counter[str]) -> Iterator[None]:
    """End the fetches whose worker was killed: nobody continues them, and a run without an end would be kept for ever."""
    with store.transaction() as work:
        number = retention_repository.end_abandoned_fetches(work, now - _ABANDONED_AFTER)
    deleted.update({"fetches of killed workers": number} if number else {})
    yield


#: Deletes a bounded number of rows, and returns how many.
_Delete = Callable[[Work], int]


def _rules(keep: RetentionPeriods, now: datetime) -> tuple[tuple[str, _Delete], ...]:
    ended = now - keep.closed
    return (
        ("attempts", partial(retention_repository.delete_attempts, before=now - keep.attempts, limit=_ROWS)),
        ("event ids", partial(retention_repository.delete_identities, before=now - keep.identities, limit=_ROWS)),
        ("closed dead letters", partial(retention_repository.delete_dead_letters, before=ended, limit=_ROWS)),
        ("ended replays", partial(retention_repository.delete_replays, before=ended, limit=_ROWS)),
        ("closed alerts", partial(retention_repository.delete_alerts, before=ended, limit=_ROWS)),
        ("messages of alerts", partial(retention_repository.delete_alert_messages, before=ended, limit=_ROWS)),
        ("ended mutes", partial(retention_repository.delete_alert_mutes, before=ended, limit=_ROWS)),
        ("recipients of mails", partial(retention_repository.forget_mails, before=ended, limit=_ROWS)),
        ("tokens of payments", partial(retention_repository.forget_tokens, before=ended, limit=_ROWS)),
        ("payments", partial(retention_repository.delete_payments, before=now - keep.payments, limit=_ROWS)),
        ("customers of orders", partial(retention_repository.forget_customers, before=ended, limit=_ROWS)),
        ("orders", partial(retention_repository.delete_orders, before=now - keep.payments, limit=_ROWS)),
        (
            "executions of workflows",
            partial(retention_repository.delete_executions, before=now - keep.payments, limit=_ROWS),
        ),
        ("decisions", partial(retention_repository.delete_decisions, before=now - keep.payments, limit=_ROWS)),
        (
            "facts of unknown payments",
            partial(retention_repository.delete_unmatched_facts, before=now - keep.identities, limit=_ROWS),
        ),
        ("last known reads", partial(retention_repository.delete_last_known_reads, before=ended, limit=_ROWS)),
        ("kept answers", partial(idempotency.delete_expired, before=now - keep.answers, limit=_ROWS)),
        (
            "counts of refused webhooks",
            partial(retention_repository.delete_refused_webhooks, before=ended, limit=_ROWS),
        ),
    )


def _all_of(store: Store, what: str, delete: _Delete, deleted: Counter[str]) -> Iterator[None]:
    number = _ROWS
    while number >= _ROWS:
        with store.transaction() as work:
            number = delete(work)
        deleted.update({what: number} if number else {})
        yield


def _subscribers(store: Store, known: Collection[str], before: datetime, deleted: Counter[str]) -> Iterator[None]:
    """Delete the inbox of each removed subscriber, then its cursors: interrupted before, the next round finds them."""
    with store.transaction() as work:
        removed = retention_repository.removed_subscribers(work, known, before)
    for name in removed:
        yield from _all_of(
            store, "inbox rows", partial(retention_repository.delete_inbox, subscriber=name, limit=_ROWS), deleted
        )
        with store.transaction() as work:
            retention_repository.delete_consumer(work, name, before)
        log.warning(
            "Deleted the cursors of the subscriber %s, which is not in the code and has had no consumer since %s: they "
            "no longer keep old partitions. Its dead letters stay",
            name,
            f"{before:%Y-%m-%d}",
        )
        yield


def _runs(store: Store, ends: tuple[datetime, datetime], deleted: Counter[str]) -> Iterator[None]:
    seen: tuple[datetime, str] | None = retention_repository.FIRST_RUN
    while seen:
        with store.transaction() as work:
            number, seen = retention_repository.delete_runs(work, *ends, seen, limit=_RUNS_SEEN)
        deleted.update({"runs": number} if number else {})
        yield


def _run_ends(now: datetime, kept: timedelta, keep: RetentionPeriods) -> tuple[datetime, datetime]:
    """Compute the ends before which runs have expired: for runs with the retention *kept*, and for fetch runs."""
    return now - kept, now - min(kept, keep.fetch_runs)


def _pages(
    store: Store, landing: Landing, keep: RetentionPeriods, now: datetime, deleted: Counter[str]
) -> Generator[None, None, LandingUnavailable | None]:
    """
    Delete the landed pages of expired runs; return the last error where files could not be deleted.

    First the run is closed, then its files are deleted, then their index: each step can be repeated. Files that cannot be
    deleted stay, and do not stop the deletion of others.
    """
    ends = _run_ends(now, min(keep.landing, keep.ledger), keep)
    number, error, stuck = _RUNS, None, list[str]()
    # So many failures mean that the landing itself is down: do not try the runs of a whole year.
    while number >= _RUNS > len(stuck):
        with store.transaction() as work:
            run_ids = retention_repository.clear_landing(work, *ends, but=stuck, limit=_RUNS)
        gone = []
        for run_id in run_ids:
            try:
                landing.remove(run_id)
                gone.append(run_id)
            except LandingUnavailable as failure:
                error = failure
                stuck.append(run_id)
            yield
        with store.transaction() as work:
            retention_repository.delete_page_index(work, gone)
        number = len(run_ids)
        deleted.update({"runs' pages": len(gone)} if gone else {})
        yield
    return error
