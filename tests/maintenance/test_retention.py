"""Retention deletes in short steps what has expired; what is still needed stays, however old."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crossdock.app.fetch_records import _FetchRequest
from crossdock.core.errors import Terminal
from crossdock.db.database import Store
from crossdock.events import partitions as event_partitions
from crossdock.events.delivery import consumer_leases
from crossdock.events.replay import repository as replay_repository
from crossdock.maintenance import retention
from crossdock.maintenance.retention import RetentionPeriods, purge_expired
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.simulation import simulate
from crossdock.sync import Systems, extract, load, mark_failed, validate
from crossdock.sync.backfill import Only, days_to_run
from crossdock.sync.landing import Landing, LandingUnavailable
from crossdock.sync.model import WHOLE, Report, SyncRequest
from tests.events.worlds import SOURCE, delivery, eventually, publish, stock
from tests.shop import query
from tests.streams import INVENTORY

NOW = datetime.now(UTC)
#: So long after everything of a test that all rules but the first of a pair have passed.
YEARS = timedelta(days=1_000)


def run(systems: Systems, request: SyncRequest | None = None) -> Report:
    run_id = extract(INVENTORY, systems, request or SyncRequest())
    return load(INVENTORY, systems, validate(INVENTORY, systems, run_id))


def a_round(systems: Systems, *, later: timedelta = YEARS, keep: RetentionPeriods | None = None) -> None:
    steps = purge_expired(
        systems.store, systems.landing, keep or RetentionPeriods(), subscribers=["known"], now=NOW + later
    )
    for _ in steps:
        pass


def folders(systems: Systems) -> set[str]:
    return {path.name for path in Path(systems.landing.root).iterdir()}  # type: ignore[call-overload]


def ledger(store: Store) -> set[str]:
    return {run_id for (run_id,) in query(store, "SELECT run_id FROM sync_run")}


# Pages and runs


def test_the_pages_of_a_run_that_ended_go_and_those_of_one_at_work_stay(systems: Systems) -> None:
    ended = run(systems).run_id
    at_work = extract(INVENTORY, systems, SyncRequest())
    a_round(systems, later=timedelta(days=29))
    assert folders(systems) == {ended, at_work}

    a_round(systems, later=timedelta(days=31))

    assert folders(systems) == {at_work}
    assert query(systems.store, "SELECT DISTINCT run_id FROM landed_page") == [(at_work,)]
    assert query(systems.store, "SELECT DISTINCT run_id FROM sync_range") == [(at_work,)]
    load(INVENTORY, systems, validate(INVENTORY, systems, at_work))


def test_a_failed_run_without_its_pages_does_not_end_well(systems: Systems) -> None:
    """Cleared after a month, it would find nothing to load, end as done, and move the watermark past what it never had."""
    run_id = extract(INVENTORY, systems, SyncRequest(), dag_run_id="monday")
    mark_failed(INVENTORY, systems.store, "monday", "the disk was full")
    a_round(systems)

    with pytest.raises(Terminal, match=r"HUB_LANDING_DAYS.*Clear `extract`"):
        validate(INVENTORY, systems, run_id)
    assert query(systems.store, "SELECT state FROM sync_run") == [("failed",)]
    assert query(systems.store, "SELECT count(*) FROM watermark") == [(0,)]
    again = extract(INVENTORY, systems, SyncRequest(), dag_run_id="monday")
    assert load(INVENTORY, systems, validate(INVENTORY, systems, again)).counts.inserted == 1_200


def test_a_round_that_was_interrupted_before_the_files_went_is_done_by_the_next(systems: Systems) -> None:
    """Noted as gone and still there, they would be there for ever."""
    run_id = run(systems).run_id
    steps = purge_expired(systems.store, None, RetentionPeriods(), subscribers=[], now=NOW + YEARS)
    with systems.store.transaction() as work:
        retention.retention_repository.clear_landing(work, NOW + YEARS, NOW + YEARS, limit=10)
    assert list(steps)
    assert folders(systems) == {run_id}

    a_round(systems)

    assert folders(systems) == set()
    assert query(systems.store, "SELECT count(*) FROM landed_page") == [(0,)]


def test_a_run_that_is_opened_again_meanwhile_keeps_its_pages(systems: Systems, hub_dsn: str) -> None:
    """A person clears its task while the round is under way: the task would find nothing to load."""
    run_id = run(systems).run_id
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with ThreadPoolExecutor(1) as threads, Store(hub_dsn) as other:
        with other.transaction() as reopening:
            reopening.execute(b"UPDATE sync_run SET state = 'running', finished_at = NULL")
            the_round = threads.submit(a_round, systems)
            with Store(hub_dsn) as third:
                eventually(lambda: query(third, waiting), [(1,)])
        the_round.result(120)

    assert folders(systems) == {run_id}
    assert query(systems.store, "SELECT landing_cleared_at FROM sync_run") == [(None,)]


def test_files_that_cannot_go_are_tried_again(systems: Systems, tmp_path: Path) -> None:
    run(systems)
    (tmp_path / "not-a-folder").write_text("")

    class Stuck(Landing):
        def remove(self, name: str) -> None:
            raise LandingUnavailable(name)

    with pytest.raises(LandingUnavailable):
        list(purge_expired(systems.store, Stuck(str(tmp_path)), RetentionPeriods(), subscribers=[], now=NOW + YEARS))
    assert query(systems.store, "SELECT count(*) > 0 FROM landed_page") == [(True,)]


def test_the_ledger_keeps_runs_that_the_next_run_a_watermark_or_quarantine_needs(
    systems: Systems, shop: FakeRetailer
) -> None:
    """A run of each: the newest, the one that moved the watermark, one whose item is open; the others go."""
    plain, rejecting = run(systems).run_id, run(systems, SyncRequest(full=True)).run_id
    query(
        systems.store,
        "INSERT INTO quarantine_item (integration, dataset, record_id, version, cause, failures, raw, first_run_id,"
        " last_run_id) VALUES ('commercetools', 'inventory', 'x', 1, 'c', '[]', '', %s, %s) RETURNING 1",
        rejecting,
        rejecting,
    )
    simulate(shop.state, stock_moves=3)
    moved_it = run(systems).run_id
    newest = run(systems, SyncRequest(keys=("nothing",))).run_id
    query(systems.store, "UPDATE watermark SET moved_by = %s RETURNING 1", moved_it)
    assert ledger(systems.store) == {plain, rejecting, moved_it, newest}

    a_round(systems)

    assert ledger(systems.store) == {rejecting, moved_it, newest}


def test_runs_of_webhooks_go_within_days(systems: Systems, shop: FakeRetailer) -> None:
    """There are thousands of them; scheduled runs are kept for a year."""
    key = shop.state.collection("inventory").rows()[0].document["sku"]
    scheduled = [run(systems).run_id, run(systems).run_id]
    pulled = [run(systems, _FetchRequest(keys=(key,))).run_id for _ in range(3)]

    a_round(systems, later=timedelta(days=8))

    assert ledger(systems.store) == {*scheduled, pulled[-1]}
    assert folders(systems) == set(scheduled)


def test_a_backfill_does_not_read_again_what_a_forgotten_run_has_read(systems: Systems) -> None:
    """0 runs, not a year of them on the day after the first run is past its time."""
    first, last = datetime(2026, 2, 1, tzinfo=UTC).date(), datetime(2026, 2, 5, tzinfo=UTC).date()
    run(systems, SyncRequest(full=True))
    run(systems)
    run(systems, SyncRequest(keys=("nothing",)))
    query(systems.store, "UPDATE watermark SET moved_by = 'nobody' RETURNING 1")
    a_round(systems)
    assert len(ledger(systems.store)) == 1

    missing = days_to_run(systems.store, INVENTORY.lease(WHOLE), first=first, last=last, only=Only.MISSING)

    assert missing == []


# Events and what failed of them


def test_ids_of_others_go_in_steps(systems: Systems, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open transaction delays every consumer: none of them is long."""
    monkeypatch.setattr(retention, "_ROWS", 10)
    query(
        systems.store,
        "INSERT INTO event_identity SELECT n::text, '/s', now() - interval '500 days' FROM generate_series(1, 35) n"
        " RETURNING 1",
    )
    query(systems.store, "INSERT INTO event_identity VALUES ('new', '/s', now()) RETURNING 1")

    steps = len(list(purge_expired(systems.store, None, RetentionPeriods(), subscribers=[], now=NOW)))

    assert query(systems.store, "SELECT event_id FROM event_identity") == [("new",)]
    assert steps >= 4


def a_dead_letter(store: Store, position: int, state: str, *, edited_data: str | None = None) -> None:
    query(
        store,
        "INSERT INTO dead_letter (subscriber, epoch, xid, position, source, type, time, partition_key, partition,"
        " schema_version, data, edited_data, state, closed_at) SELECT 'known', epoch, xid, position + %s, source, type, time,"
        " partition_key, 0, 1, data, %s, %s, CASE WHEN %s IN ('dead', 'retrying') THEN NULL ELSE now() END FROM event"
        " RETURNING 1",
        position,
        edited_data,
        state,
        state,
    )


def test_closed_dead_letters_are_deleted_and_open_ones_wait_for_a_person(systems: Systems) -> None:
    """A rebuilt model needs the data that a subscriber had instead of an event, as long as the event exists."""
    publish(systems.store, stock("CHAIR", 1, 1))
    for position, state in enumerate(("discarded", "recovered", "dead", "retrying", "superseded")):
        a_dead_letter(systems.store, position, state)

    a_round(systems)

    left = query(systems.store, "SELECT state FROM dead_letter ORDER BY position")
    assert left == [("discarded",), ("dead",), ("retrying",)]


def test_attempts_go_once_their_outcome_is_known(systems: Systems) -> None:
    """An unknown one waits for a person, and an open one may be of a process that was killed: both for ever."""
    query(
        systems.store,
        "INSERT INTO attempt (integration, action, key, request_digest, open_until, outcome, known_at)"
        " SELECT 'acme', 'charge', outcome, '', now(), outcome,"
        "        CASE WHEN outcome NOT IN ('open', 'unknown') THEN now() END"
        " FROM unnest(ARRAY['open', 'done', 'refused', 'failed', 'unknown']) AS outcome RETURNING 1",
    )
    a_round(systems, later=timedelta(days=399))
    assert query(systems.store, "SELECT count(*) FROM attempt") == [(5,)]

    a_round(systems, later=timedelta(days=401))

    assert query(systems.store, "SELECT outcome FROM attempt ORDER BY 1") == [("open",), ("unknown",)]


def test_ended_replays_go_and_open_ones_stay(systems: Systems) -> None:
    with systems.store.transaction() as work:
        kept, gone = (
            replay_repository.add(work, kind="events", request={}, rate=None, total=1, actor="ada") for _ in range(2)
        )
        replay_repository.end(work, gone.replay_id, "done")

    a_round(systems)

    assert query(systems.store, "SELECT replay_id FROM event_replay") == [(kept.replay_id,)]


def test_a_removed_subscriber_does_not_hold_a_month_back_for_ever(
    systems: Systems, caplog: pytest.LogCaptureFixture
) -> None:
    """Its consumer will never run: every month since then would be kept without a visible reason."""
    publish(systems.store, stock("CHAIR", 1, 1))
    with systems.store.transaction() as work:
        for name in ("known", "removed"):
            consumer_leases.register(work, name, 1)
        work.execute(b"INSERT INTO event_inbox VALUES ('removed', 1, 1, 1), ('known', 1, 1, 1)")
        work.execute(b"UPDATE event_consumer SET epoch = 9 WHERE subscriber = 'known'")
        event_partitions.create_ahead(work, NOW + timedelta(days=100))
        assert "event_first" not in event_partitions.drop_past(work, NOW + timedelta(days=100))
    a_round(systems, later=timedelta(days=29))
    assert query(systems.store, "SELECT count(*) FROM event_consumer") == [(2,)]

    with caplog.at_level(logging.WARNING):
        a_round(systems, later=timedelta(days=31))

    assert "subscriber removed" in caplog.text
    assert query(systems.store, "SELECT subscriber FROM event_consumer") == [("known",)]
    assert query(systems.store, "SELECT subscriber FROM event_inbox") == [("known",)]
    with systems.store.transaction() as work:
        assert "event_first" in event_partitions.drop_past(work, NOW + timedelta(days=100))


def test_a_subscriber_that_another_worker_reads_for_is_not_removed(systems: Systems) -> None:
    """Two versions of the code, for as long as it takes to deploy: the older one does not know the newer's subscriber."""
    with systems.store.transaction() as work:
        consumer_leases.register(work, "newer", 1)
        consumer_leases.claim(work, "newer", 0, "worker", timedelta(days=2_000))

    a_round(systems)

    assert query(systems.store, "SELECT subscriber FROM event_consumer") == [("newer",)]


def test_a_round_logs_one_line_about_what_it_deleted_and_none_without_deletions(
    systems: Systems, caplog: pytest.LogCaptureFixture
) -> None:
    run(systems)
    query(systems.store, "INSERT INTO event_identity VALUES ('old', '/s', now() - interval '500 days') RETURNING 1")
    with caplog.at_level(logging.INFO, logger=retention.__name__):
        a_round(systems)
        a_round(systems)

    messages = [record.getMessage() for record in caplog.records if record.name == purge_expired.__module__]
    assert messages == ["Retention deleted 1 event ids, 1 runs' pages"]


def test_an_object_store_lets_a_run_go_too() -> None:
    """The same over Airflow's paths: an object store has no folders, only names that begin alike."""
    landing = Landing("memory://retention")
    landing.write("run-1/range-00/page", b"{}")
    landing.write("run-10/range-00/page", b"{}")

    landing.remove("run-1")
    landing.remove("run-1")

    assert landing.read("run-10/range-00/page") == b"{}"
    with pytest.raises(LandingUnavailable):
        landing.read("run-1/range-00/page")


def test_a_run_whose_files_cannot_be_deleted_keeps_no_other_run(systems: Systems) -> None:
    """One folder of another user, the oldest: every page since then stayed, until the disk was full."""
    stuck, *others = (run(systems, SyncRequest(full=True)).run_id for _ in range(3))
    query(systems.store, "UPDATE watermark SET moved_by = 'nobody' RETURNING 1")

    class Stuck(Landing):
        def remove(self, name: str) -> None:
            if name == stuck:
                raise LandingUnavailable(name)
            super().remove(name)

    with pytest.raises(LandingUnavailable):
        list(
            purge_expired(
                systems.store, Stuck(str(systems.landing.root)), RetentionPeriods(), subscribers=[], now=NOW + YEARS
            )
        )

    assert folders(systems) == {stuck}
    assert query(systems.store, "SELECT DISTINCT run_id FROM sync_range") == [(stuck,)]
    assert ledger(systems.store) == {stuck, others[-1]}, "the ledger's own time has come, too"


def test_an_outage_ends_when_no_event_waits_for_it(systems: Systems, hub_dsn: str) -> None:
    """When the waiting events are discarded, no event is left for a probe: the outage was shown until the next event, or for ever."""
    publish(systems.store, stock("CHAIR", 1, 1))
    a_dead_letter(systems.store, 0, "retrying")
    query(
        systems.store,
        "INSERT INTO source_outage (subscriber, source, cause, reason, next_probe_at) SELECT 'known', source, 'c', 'r', now()"
        " FROM (SELECT source FROM event UNION SELECT '/gone') AS them RETURNING 1",
    )
    with delivery(hub_dsn, {}):
        eventually(lambda: query(systems.store, "SELECT source FROM source_outage"), [(SOURCE,)])
