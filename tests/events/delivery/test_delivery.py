"""Every event reaches its subscriber and has its effect once, in order per key; a failing one blocks only its key."""

from __future__ import annotations

import itertools
import json
import secrets
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from crossdock.commerce.inventory import repository as inventory_repository
from crossdock.commerce.inventory import subscribers as inventory_subscribers
from crossdock.db.database import Store, StoreRefused, Work
from crossdock.events import partitions as event_partitions
from crossdock.events import store as event_store
from crossdock.events.dead_letters.repository import Failure
from crossdock.events.delivery import PartitionAssignment, consumer_leases, failures, retry_repository
from crossdock.events.delivery.retry_repository import RetryRecord
from crossdock.events.model import ORIGIN, STOCK_CHANGED, Event
from crossdock.events.store import Selection
from crossdock.events.subscriber import Subscriber
from crossdock.maintenance.housekeeping import Housekeeping, HousekeepingConfig
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, OwnKind
from tests.events.worlds import QUICK, delivery, eventually, publish, stock
from tests.shop import query


def available(store: Store) -> dict[str, int]:
    return dict(query(store, "SELECT sku, available FROM sku_availability"))


def dead_letters(store: Store) -> list[tuple[Any, ...]]:
    return query(store, "SELECT state, attempts, cause, data->>'id' FROM dead_letter ORDER BY position")


class Diary:
    """A subscriber that records its events, and refuses those of some keys."""

    def __init__(self, *, refuses: Sequence[str] = (), times: int = 1_000_000) -> None:
        self.seen: list[tuple[str, int]] = []
        self._refuses, self._left = set(refuses), times
        self._lock = threading.Lock()

    def apply(self, work: Work, events: Sequence[Event]) -> None:
        delivered = [(str(json.loads(event.data)["id"]), int(json.loads(event.data)["version"])) for event in events]
        with self._lock:
            if self._left and any(entry in self._refuses for entry, _ in delivered):
                self._left -= len(delivered) == 1
                raise ValueError("this one again")
            self.seen += delivered
        inventory_repository.upsert(work, [])

    def refuses_no_more(self) -> None:
        with self._lock:
            self._left = 0

    def subscriber(self, **changes: Any) -> dict[str, Subscriber]:
        fields = {"types": (STOCK_CHANGED,), "apply": self.apply, "attempts": 3, "first_wait_s": 0.05, **changes}
        return {"diary": Subscriber(**fields)}


def test_a_stock_change_reaches_the_read_model(store: Store, hub_dsn: str) -> None:
    publish(
        store, stock("CHAIR", 1, 5), stock("CHAIR", 1, 3, entry="other", supply_channel="berlin"), stock("RUG", 1, -2)
    )

    with delivery(hub_dsn):
        eventually(lambda: available(store), {"CHAIR": 8, "RUG": 0})


def test_a_delivered_event_has_no_second_effect(store: Store, hub_dsn: str) -> None:
    """A cursor that moves back (a restored row, another number of partitions) reads events a second time."""
    diary = Diary()
    publish(store, *(stock(f"S{n}", 1, n) for n in range(50)))
    with delivery(hub_dsn, diary.subscriber()):
        eventually(lambda: len(diary.seen), 50)
    query(store, "UPDATE event_consumer SET xid = '0', position = 0 RETURNING 1")

    with delivery(hub_dsn, diary.subscriber(), assignment=PartitionAssignment(partitions=3)):
        publish(store, stock("LAST", 1, 1))
        eventually(lambda: ("id-LAST", 1) in diary.seen)

    assert len(diary.seen) == 51


def test_events_in_any_order_leave_the_newest_state(store: Store) -> None:
    """Every permutation of five versions of one level, each of a sku of its own."""
    orders = {f"S{number:03d}": order for number, order in enumerate(itertools.permutations(range(1, 6)))}
    for sku, order in orders.items():
        for version in order:
            with store.transaction() as work:
                inventory_subscribers.apply(work, [stored(stock(sku, version, version * 10))])

    assert available(store) == dict.fromkeys(orders, 50)


def stored(event: Any) -> Event:
    return Event(
        1, 1, 1, None, event.source, event.type, event.subject, event.time, event.partition_key, None, 1, event.data
    )


def test_a_poison_event_blocks_no_other_key(store: Store, hub_dsn: str) -> None:
    diary = Diary(refuses=["id-P"])
    publish(
        store, *(stock(f"S{n}", 1, n) for n in range(30)), stock("P", 1, 1), *(stock(f"T{n}", 1, n) for n in range(30))
    )

    with delivery(hub_dsn, diary.subscriber()):
        eventually(lambda: len(diary.seen), 60)
        eventually(lambda: dead_letters(store), [("dead", 3, "ValueError", "id-P")])


def test_later_events_of_a_key_wait_behind_one_that_is_tried_again(store: Store, hub_dsn: str) -> None:
    """Order per key holds through a retry."""
    diary = Diary(refuses=["id-A"], times=2)
    publish(store, stock("A", 1, 1), stock("A", 2, 2), stock("B", 1, 1), stock("A", 3, 3))

    with delivery(hub_dsn, diary.subscriber()):
        eventually(lambda: len(diary.seen), 4)

    assert [seen for seen in diary.seen if seen[0] == "id-A"] == [("id-A", 1), ("id-A", 2), ("id-A", 3)]
    assert dead_letters(store) == [("recovered", 3, "ValueError", "id-A")]


def test_data_that_do_not_match_the_event_type_are_a_dead_letter_at_once(store: Store, hub_dsn: str) -> None:
    """A retry cannot help; a person can."""
    publish(store, stock("A", 1, 1, available_quantity="many"), stock("B", 1, 4))

    with delivery(hub_dsn):
        eventually(lambda: dead_letters(store), [("dead", 1, "BadEvent", "id-A")])
        eventually(lambda: available(store), {"B": 4})


def test_a_dead_letter_closes_itself_when_a_later_event_of_its_subject_succeeds(store: Store, hub_dsn: str) -> None:
    """The newer event has the whole state of its subject; another entry of the same SKU says nothing about it."""
    with delivery(hub_dsn):
        publish(store, stock("A", 1, 1, available_quantity=None))
        eventually(lambda: [row[0] for row in dead_letters(store)], ["dead"])
        publish(store, stock("A", 1, 7, entry="another"))
        eventually(lambda: available(store), {"A": 7})
        assert [row[0] for row in dead_letters(store)] == ["dead"]

        publish(store, stock("A", 2, 5))
        eventually(lambda: [row[0] for row in dead_letters(store)], ["superseded"])


def test_silent_events_are_not_delivered(store: Store, hub_dsn: str) -> None:
    publish(store, stock("A", 1, 1))
    query(store, "UPDATE event SET silent = true RETURNING 1")

    with delivery(hub_dsn):
        publish(store, stock("B", 1, 2))
        eventually(lambda: available(store), {"B": 2})


def test_an_event_that_commits_late_is_not_passed_over(store: Store, hub_dsn: str) -> None:
    """Its number is lower than those that were read before it appeared: `id > last` would lose it."""
    diary = Diary()
    with psycopg.connect(hub_dsn, options="-c search_path=hub") as slow, delivery(hub_dsn, diary.subscriber()):
        slow.execute(
            "INSERT INTO event (source, type, subject, time, partition_key, data) VALUES"
            " ('/s', 'crossdock.stock.changed', 'inventory/late', now(), 'L', '{\"id\": \"late\", \"version\": 1}')"
        )
        publish(store, stock("EARLY", 1, 1))
        assert diary.seen == []
        slow.commit()

        eventually(lambda: sorted(diary.seen), [("id-EARLY", 1), ("late", 1)])


def test_a_worker_that_dies_is_replaced_in_the_life_of_a_lease(store: Store, hub_dsn: str) -> None:
    """Airflow notices minutes later; the events must not wait for that."""
    diary = Diary()
    with delivery(hub_dsn, diary.subscriber()):
        eventually(lambda: query(store, "SELECT count(*) FROM event_consumer WHERE holder IS NOT NULL"), [(2,)])
    query(
        store,
        "UPDATE event_consumer SET holder = 'dead', token = token + 1,"
        " expires_at = clock_timestamp() + interval '0.5 seconds' RETURNING 1",
    )
    publish(store, stock("A", 1, 1))

    with delivery(hub_dsn, diary.subscriber(), assignment=PartitionAssignment(1, workers=2), polling=QUICK):
        eventually(lambda: diary.seen, [("id-A", 1)], within_s=4)


def test_a_thread_that_ends_by_a_defect_is_logged_and_restarted(
    store: Store, hub_dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A thread that ended unnoticed left its subscriber without a reader until the worker ended, minutes later."""
    diary, real, left = Diary(), event_store.read, [3]

    def read(work: Work, after: Any, **how: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise RuntimeError("a defect of ours")
        return real(work, after, **how)

    monkeypatch.setattr(event_store, "read", read)
    publish(store, stock("A", 1, 1))
    with delivery(hub_dsn, diary.subscriber(), polling=replace(QUICK, after_a_defect_s=0.1)):
        eventually(lambda: diary.seen, [("id-A", 1)])

    logged = [record for record in caplog.records if "failed unexpectedly" in record.getMessage()]
    assert len(logged) == 3
    assert all(record.exc_info and record.exc_info[0] is RuntimeError for record in logged)


@pytest.mark.parametrize("error", [StoreRefused("no such table"), RuntimeError("a defect of ours")])
def test_housekeeping_outlives_its_errors(
    store: Store, hub_dsn: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A refused statement in one of its tasks must not stop the replays and the partitions of the next month."""
    real, failed = event_partitions.create_ahead, []

    def create_ahead(work: Work, now: datetime) -> list[str]:
        if not failed:
            failed.append(error)
            raise error
        return real(work, now)

    monkeypatch.setattr(event_partitions, "create_ahead", create_ahead)
    with delivery(hub_dsn, Diary().subscriber(), polling=replace(QUICK, after_a_defect_s=0.1)):
        # The partitions may be there already: the error comes first, and what follows it is what counts.
        eventually(lambda: (len(failed), query(store, "SELECT count(*) > 3 FROM pg_inherits")), (1, [(True,)]))


def test_a_subscriber_that_hangs_is_ended_by_the_server_after_a_reconnect_too(store: Store, hub_dsn: str) -> None:
    """Set on a connection when its partition was claimed, the limit was lost with the connection."""
    limits: list[str] = []

    def apply(work: Work, _: Sequence[Event]) -> None:
        limits.extend(row[0] for row in work.execute(b"SHOW idle_in_transaction_session_timeout"))

    subscribers = {"diary": Subscriber(types=(STOCK_CHANGED,), apply=apply)}
    with delivery(hub_dsn, subscribers, assignment=PartitionAssignment(partitions=1)):
        publish(store, stock("A", 1, 1))
        eventually(lambda: len(limits), 1)
        with psycopg.connect(hub_dsn, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND application_name = 'crossdock'"
            )
        with Store(hub_dsn) as fresh:
            publish(fresh, stock("A", 2, 2))
        eventually(lambda: len(limits) > 1)

    # Twice the life of a lease.
    assert set(limits) == {"2min"}


def test_the_inbox_is_trimmed_below_the_slowest_cursor_and_no_effect_comes_twice(store: Store, hub_dsn: str) -> None:
    """
    Two key partitions, one of them far behind: what it has not reached stays known of the other, so that both can begin
    at the slower one's place when their number changes.
    """
    diary = Diary()
    housekeeping = Housekeeping(store, HousekeepingConfig(inbox_newest=0), diary.subscriber(), lambda: False)
    publish(store, *(stock(f"S{n}", 1, n) for n in range(40)))
    with delivery(hub_dsn, diary.subscriber(), assignment=PartitionAssignment(partitions=2)):
        eventually(lambda: len(diary.seen), 40)
        eventually(lambda: query(store, "SELECT min(position) FROM event_consumer"), [(0,)])
    behind = query(store, "SELECT epoch, xid::text, position FROM event WHERE data->>'sku' = 'S9'")[0]
    moved = "UPDATE event_consumer SET epoch = %s, xid = %s::xid8, position = %s WHERE partition = 1 RETURNING 1"
    query(store, moved, *behind)

    assert housekeeping.trim_inboxes() == 10
    assert housekeeping.trim_inboxes() == 0
    with delivery(hub_dsn, diary.subscriber(), assignment=PartitionAssignment(partitions=3)):
        publish(store, stock("LAST", 1, 1))
        eventually(lambda: ("id-LAST", 1) in diary.seen)
        eventually(lambda: housekeeping.trim_inboxes() + inbox_rows(store), 0)

    assert len(diary.seen) == len(set(diary.seen)) == 41


def test_the_inbox_keeps_the_newest_even_behind_all_cursors(store: Store, hub_dsn: str) -> None:
    """A person who sets a cursor back by hand repeats no effect of the last hundred thousand events."""
    diary = Diary()
    publish(store, *(stock(f"S{n}", 1, n) for n in range(30)))
    with delivery(hub_dsn, diary.subscriber()):
        eventually(lambda: len(diary.seen), 30)

    assert (
        Housekeeping(store, HousekeepingConfig(inbox_newest=20), diary.subscriber(), lambda: False).trim_inboxes() == 10
    )
    assert inbox_rows(store) == 20


def inbox_rows(store: Store) -> int:
    return int(query(store, "SELECT count(*) FROM event_inbox")[0][0])


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_that_begin_together_do_not_end_together(workers: int) -> None:
    """While Airflow starts the next run of one, another has to be there."""
    usual = timedelta(minutes=15)
    for second in range(0, 1_800, 7):
        now = datetime(2026, 11, 24, 12, tzinfo=UTC) + timedelta(seconds=second)
        lives = [PartitionAssignment(number, workers=workers).lifetime(usual, now) for number in range(workers)]

        assert all(usual / 2 <= life <= usual * 1.5 for life in lives)
        ends = sorted(life % usual for life in lives)
        assert all(later - earlier >= usual / workers * 0.99 for earlier, later in itertools.pairwise(ends))


def test_an_event_that_no_index_can_hold_is_a_dead_letter_and_blocks_no_other(store: Store, hub_dsn: str) -> None:
    """
    PostgreSQL's word for it is filed under what passes: the whole partition would wait for a moment that never comes, or
    its worker would end with it.
    """
    long_key = "".join(secrets.token_hex(16) for _ in range(400))

    def keep(work: Work, events: Sequence[Event]) -> None:
        for event in events:
            subject = long_key if event.partition_key == "BAD" else event.partition_key
            alerts.add(work, OwnKind("had"), subject, Found("m"))

    publish(store, stock("A", 1, 1), stock("BAD", 1, 1), stock("B", 1, 1))
    subscribers = {"had": Subscriber(types=(STOCK_CHANGED,), apply=keep, attempts=1)}

    with delivery(hub_dsn, subscribers, assignment=PartitionAssignment(partitions=1)):
        had = "SELECT array_agg(subject ORDER BY subject) FROM alert WHERE kind = 'had'"
        eventually(lambda: query(store, had), [(["A", "B"],)])
        dead_letters = "SELECT partition_key, state, cause, position(%s in reason) FROM dead_letter"
        eventually(lambda: query(store, dead_letters, long_key[:40]), [("BAD", "dead", "ProgramLimitExceeded", 0)])


# A key waits for its failed event, and what waits is found again


def test_an_event_published_after_its_key_failed_waits_for_it(store: Store, hub_dsn: str) -> None:
    """Delivered at once, it would be overtaken: the older event, retried later, would undo it."""
    diary = Diary(refuses=["id-A"])
    with delivery(hub_dsn, diary.subscriber(first_wait_s=600), assignment=PartitionAssignment(partitions=1)):
        publish(store, stock("A", 1, 1))
        eventually(lambda: [row[0] for row in dead_letters(store)], ["retrying"])
        diary.refuses_no_more()
        publish(store, stock("A", 2, 2), stock("B", 1, 1))
        eventually(lambda: ("id-B", 1) in diary.seen)

    assert diary.seen == [("id-B", 1)]
    assert [row[0] for row in dead_letters(store)] == ["retrying", "waiting"]


def test_another_number_of_partitions_begins_at_the_slowest_cursor(store: Store) -> None:
    """Keys move between partitions: at any other cursor, events of keys that came from the slowest are passed over."""
    publish(store, *(stock(f"S{n}", 1, n) for n in range(20)))
    with store.transaction() as work:
        consumer_leases.register(work, "diary", 2)
        claims = [consumer_leases.claim(work, "diary", number, "worker", timedelta(minutes=1)) for number in (0, 1)]
        events = event_store.select(work, Selection(after=ORIGIN), limit=100)
        for claim, cursor in zip(claims, (events[-1].at, events[3].at), strict=True):
            assert claim is not None
            consumer_leases.advance(work, claim, cursor, delivered=0, life=timedelta(minutes=1))

        consumer_leases.register(work, "diary", 3)

        begins = [consumer_leases.claim(work, "diary", number, "worker", timedelta(minutes=1)) for number in range(3)]
        assert {claim and claim.cursor for claim in begins} == {events[3].at}


@pytest.mark.parametrize("partitions", [1, 3])
def test_events_that_wait_move_with_their_key_when_partitions_change(store: Store, partitions: int) -> None:
    """Left behind, they are retried by nobody, and later events of their keys are delivered before them."""
    life, failure = timedelta(minutes=1), Failure(cause="ValueError", reason="")
    publish(store, *(stock(f"S{n}", version, n) for n in range(12) for version in (1, 2)))
    with store.transaction() as work:
        consumer_leases.register(work, "diary", 2)
        for number in range(2):
            claim = consumer_leases.claim(work, "diary", number, "worker", life)
            assert claim is not None
            first, second = in_partition(work, number, 2)
            records = [RetryRecord(event=event, state="retrying", failure=failure) for event in first]
            records += [RetryRecord(event=event, state="waiting") for event in second]
            retry_repository.upsert(work, claim, records)

    with store.transaction() as work:
        consumer_leases.register(work, "diary", partitions)
        for number in range(partitions):
            claim = consumer_leases.claim(work, "diary", number, "worker", life)
            assert claim is not None
            first, second = in_partition(work, number, partitions)
            assert len(first) == len(second) > 0
            due = retry_repository.heads_of_line(work, claim)
            assert {dead_letter.event.at for dead_letter in due} == {event.at for event in first}
            assert retry_repository.blocked_keys(work, claim) == {event.partition_key for event in second}


def in_partition(work: Work, partition: int, partitions: int) -> tuple[list[Event], list[Event]]:
    """The first event of each key of the partition, and the second."""
    events, _ = event_store.read(
        work,
        ORIGIN,
        types=[STOCK_CHANGED],
        partition=partition,
        partitions=partitions,
        limit=1_000,
        now_epoch=event_store.epoch(work),
    )
    versions = [int(json.loads(event.data)["version"]) for event in events]
    first, second = ([event for event, at in zip(events, versions, strict=True) if at == version] for version in (1, 2))
    return first, second


# What becomes of a failed event


def test_only_a_later_event_of_its_subject_closes_a_dead_letter(store: Store) -> None:
    """An older one, replayed afterwards, has not the state that the dead letter would have brought."""
    publish(store, *(stock("A", version, version) for version in (1, 2, 3)))
    with store.transaction() as work:
        consumer_leases.register(work, "diary", 1)
        claim = consumer_leases.claim(work, "diary", 0, "worker", timedelta(minutes=1))
        assert claim is not None
        older, failed, later = event_store.select(work, Selection(after=ORIGIN), limit=10)
        failure = Failure(cause="ValueError", reason="")
        retry_repository.upsert(work, claim, [RetryRecord(event=failed, state="dead", failure=failure, attempts=1)])
        retry_repository.supersede(work, "diary", [older, failed])
        assert retry_repository.any_dead(work, "diary")

        retry_repository.supersede(work, "diary", [later])

    assert [row[0] for row in dead_letters(store)] == ["superseded"]


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(1, 0.5), (2, 1), (3, 2), (11, 512), (12, 600), (40, 600), (10_000, 600)]
)
def test_the_longest_wait_between_two_attempts_is_ten_minutes(attempts: int, seconds: float) -> None:
    """Doubled for a weekend, the wait would be a month after the cause is gone."""
    subscriber = Subscriber(types=(STOCK_CHANGED,), first_wait_s=0.5)

    assert failures.wait_s(subscriber, attempts) == seconds


def test_the_text_of_a_foreign_error_is_not_kept(store: Store, hub_dsn: str) -> None:
    """It may quote a row's values, and reasons are in alerts and lists that everybody may read."""

    def refuse(_: Work, events: Sequence[Event]) -> None:
        raise ValueError(f"invalid literal: 'secret-value' in {len(events)}")

    publish(store, stock("A", 1, 1))
    with delivery(hub_dsn, {"refusing": Subscriber(types=(STOCK_CHANGED,), apply=refuse, attempts=1)}):
        eventually(lambda: [row[0] for row in dead_letters(store)], ["dead"])

    ((cause, reason),) = query(store, "SELECT cause, reason FROM dead_letter")
    assert cause == "ValueError"
    assert reason.startswith("ValueError in refuse (test_delivery.py, line ")
    assert "secret-value" not in reason
