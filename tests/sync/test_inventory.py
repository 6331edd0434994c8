"""The inventory sync, from the sandbox over a real socket into a real PostgreSQL."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from crossdock.core.errors import HeldForApproval, LeaseHeld, LeaseLost, SystemRefused, SystemUnavailable
from crossdock.core.hints import Hint, HintId
from crossdock.db import leases
from crossdock.db.database import Store, StoreRefused
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.simulation import simulate
from crossdock.sync import Systems, batches, extract, ledger, load, validate, watermarks
from crossdock.sync.dataset import Columns
from crossdock.sync.landing import Landing, LandingUnavailable
from crossdock.sync.model import Counts, Mode, Report, RunState, SyncRequest
from crossdock.sync.quarantine import repository as quarantine_repository
from crossdock.sync.stream import Stream
from crossdock.sync.window import planned_ranges
from tests.shop import connect, in_hub, in_shop, query
from tests.streams import INVENTORY

FULL = SyncRequest(full=True)
DELTA = SyncRequest()
KEY = leases.LeaseKey("commercetools", "inventory")


def run(
    systems: Systems, request: SyncRequest = DELTA, dag_run_id: str | None = None, stream: Stream = INVENTORY
) -> Report:
    """The three tasks, one after the other, as the DAG runs them."""
    run_id = extract(stream, systems, request, dag_run_id=dag_run_id)
    return load(stream, systems, validate(stream, systems, run_id))


def sandbox(**size: int) -> FakeRetailer:
    return FakeRetailer(**{"seed": 7, "products": 0, "orders": 0, "customers": 0, **size})


def watermark(store: Store) -> object:
    with store.transaction() as work:
        return watermarks.read(work, KEY)


def test_a_full_sync_ends_with_every_stock_level_of_the_shop_in_the_hub(shop: FakeRetailer, systems: Systems) -> None:
    """The main promise: the hub equals the source, and the ledger says so."""
    report = run(systems, FULL)

    assert report.state is RunState.DONE
    assert report.counts.read == report.counts.inserted == 1_200
    assert report.counts.balanced
    assert in_hub(systems.store) == in_shop(shop)


def test_a_second_full_sync_changes_nothing(systems: Systems) -> None:
    """Nothing may be written for what is there already: not to the table, its history, or the events."""
    run(systems, FULL)
    before = query(systems.store, "SELECT (SELECT count(*) FROM event), (SELECT max(batch_id) FROM inventory)")

    again = run(systems, FULL)

    assert again.counts.unchanged == again.counts.read == 1_200
    assert query(systems.store, "SELECT (SELECT count(*) FROM event), (SELECT max(batch_id) FROM inventory)") == before
    assert query(systems.store, "SELECT count(*) FROM inventory_history") == [(0,)]


@pytest.mark.parametrize("fault", ["a value", "a constraint", "a constraint on a new version"])
def test_a_record_that_the_database_refuses_waits_alone(shop: FakeRetailer, systems: Systems, fault: str) -> None:
    """Whatever no rule knew of: the rest of its batch is loaded, and each record has one outcome."""
    ids = sorted(in_shop(shop))
    bad = [ids[3], ids[700], ids[-1]]
    stream = replace(INVENTORY, batch_records=500)
    had = 0
    if fault == "a constraint on a new version":
        had = run(systems, FULL).counts.inserted
        for one in ids:
            shop.state.change("inventory", one, lambda entry: entry.update(restockableInDays=77))
    if fault == "a value":
        stream = replace(stream, to_columns=partial(with_nul_for, bad))
    else:
        refuse = sql.SQL("ALTER TABLE inventory ADD CHECK (id <> ALL({}::text[])) NOT VALID").format(bad)
        with systems.store.transaction() as work:
            work.execute(refuse)

    report = run(systems, FULL, stream=stream)

    assert (report.state, report.counts.rejected, report.counts.balanced) == (RunState.PARTIAL, 3, True)
    assert report.counts.inserted + report.counts.updated == 1_197
    items = query(systems.store, "SELECT record_id, cause, failures, raw FROM quarantine_item ORDER BY record_id")
    assert [(record_id, cause) for record_id, cause, _, _ in items] == [(one, "record_cannot_be_stored") for one in bad]
    assert all(json.loads(raw)["id"] == record_id and failures[0]["value"] for record_id, _, failures, raw in items)
    assert query(systems.store, "SELECT count(*) FROM event") == [(had + 1_197,)]
    assert query(systems.store, "SELECT count(*) FROM inventory_history") == [(1_197 if had else 0,)]


def with_nul_for(bad: list[str], records: Sequence[Any]) -> Columns:
    columns = dict(INVENTORY.to_columns(records))
    columns["supply_channel"] = ["\x00" if one in bad else None for one in columns["id"]]
    return columns


def test_a_table_that_refuses_all_rows_fails_the_run(systems: Systems) -> None:
    """That is a defect of ours or a missing migration: no person could mend a whole shop in quarantine."""
    with systems.store.transaction() as work:
        work.execute(b"ALTER TABLE inventory ADD CHECK (false)")

    with pytest.raises(StoreRefused):
        run(systems, FULL)
    assert query(systems.store, "SELECT count(*) FROM quarantine_item WHERE cause = 'record_cannot_be_stored'") == [
        (0,)
    ]


def test_a_delta_brings_exactly_what_changed_and_keeps_what_was(shop: FakeRetailer, systems: Systems) -> None:
    """One event and one history row for each change, and nothing else."""
    run(systems, FULL)
    simulate(shop.state, stock_moves=25)

    report = run(replace(systems, overlap=timedelta(0)))

    assert report.counts.updated == 25
    assert in_hub(systems.store) == in_shop(shop)
    assert query(systems.store, "SELECT count(*) FROM inventory_history") == [(25,)]
    assert query(systems.store, "SELECT count(*), count(DISTINCT (epoch, position)) FROM event") == [(1_225, 1_225)]


def test_an_event_has_the_whole_new_state_of_its_row(shop: FakeRetailer, systems: Systems) -> None:
    """A read model is built from events alone."""
    run(systems, SyncRequest(keys=(first_sku(shop),)))

    rows = query(
        systems.store,
        "SELECT e.type, e.source, e.partition_key, e.correlation_id, e.data->>'sku', (e.data->>'version')::int,"
        " i.sku, i.version FROM event e JOIN inventory i ON e.subject = 'inventory/' || i.id",
    )
    assert rows
    for kind, source, partition_key, run_id, sku, version, hub_sku, hub_version in rows:
        assert (kind, source) == ("crossdock.stock.changed", "/integrations/commercetools")
        assert partition_key == sku == hub_sku
        assert version == hub_version
        assert run_id.startswith("inventory-")


def first_sku(shop: FakeRetailer) -> str:
    return str(next(iter(shop.state.collection("inventory").rows())).document["sku"])


def test_keys_read_only_those_and_leave_the_watermark(shop: FakeRetailer, systems: Systems) -> None:
    report = run(systems, SyncRequest(keys=(first_sku(shop),)))

    assert 1 <= report.counts.inserted <= 5
    assert {sku for (sku,) in query(systems.store, "SELECT sku FROM inventory")} == {first_sku(shop)}
    assert watermark(systems.store) is None


def test_a_limited_run_stops_at_its_limit_and_leaves_the_watermark(systems: Systems) -> None:
    report = run(systems, SyncRequest(full=True, limit=150))

    assert report.counts.read == 150
    assert watermark(systems.store) is None


def test_a_window_reads_what_was_modified_in_it(shop: FakeRetailer, systems: Systems) -> None:
    """Since is included and until is not, as everywhere."""
    instants = sorted(row.modified_at for row in shop.state.collection("inventory").rows())
    since, until = instants[100], instants[400]

    report = run(systems, SyncRequest.of({"since": since, "until": until}))

    assert report.counts.read == sum(since <= instant < until for instant in instants)
    assert watermark(systems.store) is None


def test_a_flawed_catalogue_loads_its_good_rows_and_keeps_the_bad_ones_whole(store: Store, tmp_path: Path) -> None:
    """One bad row must not keep the others out, and must not vanish."""
    with sandbox(inventory=3_000, flaws=1) as shop:
        systems = Systems(connect(shop), store, Landing(str(tmp_path)))
        report = run(systems, FULL)
        flawed = shop.state.flawed_ids("inventory")
        unusable = {record_id for record_id, flaw in flawed.items() if flaw not in USABLE_FLAWS}

    assert report.state is RunState.PARTIAL
    assert report.counts.rejected == len(unusable)
    assert report.counts.inserted == 3_000 - len(unusable)
    with store.transaction() as work:
        items = quarantine_repository.find(work, limit=1_000)
    assert {item.record_id for item in items} == unusable
    assert all(item.raw.startswith(b"{") and item.failures[0].message for item in items)


#: Dirty, but a merchant can use them as they are.
USABLE_FLAWS = {"blanks_around_sku", "created_after_modified"}


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ([{"nan": True}], "number_is_finite"),
        ([{"huge_number": True}], "quantityOnStock_is_readable"),
    ],
)
def test_a_row_that_no_database_can_hold_goes_to_quarantine_alone(
    shop: FakeRetailer, systems: Systems, script: list[object], cause: str
) -> None:
    """NaN makes the whole page no JSON; still only its own row is bad."""
    shop.faults.put("inventory", ["ok", *script])

    report = run(systems, FULL)

    assert report.counts.rejected == 1
    assert report.counts.inserted == 1_199
    with systems.store.transaction() as work:
        (item,) = quarantine_repository.find(work)
    assert item.cause == cause


def test_the_same_bad_version_read_again_is_one_item_seen_twice(store: Store, tmp_path: Path) -> None:
    """A person fixes a record once, however often it is read."""
    with sandbox(inventory=600, flaws=1) as shop:
        systems = Systems(connect(shop), store, Landing(str(tmp_path)))
        first, second = run(systems, FULL), run(systems, FULL)

    assert first.counts.rejected == second.counts.rejected > 0
    assert query(store, "SELECT count(*), min(times_seen) FROM quarantine_item") == [(first.counts.rejected, 2)]


def test_a_record_that_the_source_corrects_closes_its_item(store: Store, tmp_path: Path) -> None:
    """A person should not have to fix what the source has fixed."""
    with sandbox(inventory=600, flaws=1) as shop:
        systems = Systems(connect(shop), store, Landing(str(tmp_path)))
        run(systems, FULL)
        with store.transaction() as work:
            item = next(
                item for item in quarantine_repository.find(work) if item.cause == "available_is_not_above_stock"
            )
        shop.state.change("inventory", item.record_id, lambda row: row.update(quantityOnStock=5, availableQuantity=5))
        run(systems, FULL)

    with store.transaction() as work:
        assert quarantine_repository.get(work, item.item_id).state == "superseded"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ([{"status": 503}], SystemUnavailable),
        ([{"status": 400}], SystemRefused),
        ([{"not_json": "<html>login</html>"}], Exception),
        ([{"truncate_json": 0.6}], Exception),
        ([{"truncate": 0.6}], Exception),
        ([{"wrong_type": True}], Exception),
    ],
)
def test_a_source_that_keeps_answering_wrongly_fails_the_run_and_loads_nothing(
    shop: FakeRetailer, systems: Systems, script: list[object], error: type[Exception]
) -> None:
    """Never "0 rows, success"."""
    shop.faults.put("inventory", ["ok", "ok", *script], repeat=True)

    with pytest.raises(error):
        run(systems, FULL)

    assert in_hub(systems.store) == {}
    assert watermark(systems.store) is None


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "retry_after": 0},
        {"status": 429, "retry_after": "date:+0"},
        {"status": 503},
        {"truncate": 0.6},
        {"truncate_json": 0.5},
        {"not_json": "<html/>"},
        {"duplicate_page": True},
        {"reset": True},
        {"mutate_during": {"stock_moves": 20}},
        {"late_update": {"seconds": 120}},
    ],
)
def test_a_passing_fault_in_the_middle_of_the_pages_is_not_seen_in_the_result(
    shop: FakeRetailer, systems: Systems, fault: dict[str, object]
) -> None:
    """A failure that is retried needs no person."""
    shop.faults.put("inventory", ["ok", "ok", "ok", fault])

    run(systems, FULL)
    run(systems, DELTA)

    assert in_hub(systems.store) == in_shop(shop)


@pytest.mark.parametrize("script", [[{"empty": True}], [{"shrink": 0.1}]])
def test_an_empty_or_shrunken_full_read_is_held_until_a_person_accepts_it(
    shop: FakeRetailer, systems: Systems, script: list[object]
) -> None:
    """An empty feed is far more often a broken source than an empty shop."""
    run(systems, FULL)
    shop.faults.put("inventory", script, repeat=True)

    with pytest.raises(HeldForApproval) as raised:
        run(systems, FULL)

    assert raised.value.hint == Hint(HintId.ALLOW_SHRINK, "commercetools.inventory")

    with systems.store.transaction() as work:
        held = ledger.newest(work, limit=1)[0]
    assert held.state is RunState.HELD
    assert held.counts.read == held.counts.held
    assert held.counts.balanced
    assert len(in_hub(systems.store)) == 1_200
    accepted = run(systems, SyncRequest(full=True, allow_shrink=True))
    assert accepted.state is RunState.DONE


def test_an_older_version_never_overwrites_a_newer_one(shop: FakeRetailer, systems: Systems) -> None:
    """A page that was read before a change may be loaded after it."""
    run_id = extract(INVENTORY, systems, FULL, dag_run_id="old")
    simulate(shop.state, stock_moves=40)
    with systems.store.transaction() as work:
        leases.release(work, KEY, run_id)
    run(systems, FULL)
    after = in_hub(systems.store)

    late = load(INVENTORY, systems, validate(INVENTORY, systems, run_id))

    assert late.counts.stale == 40
    assert in_hub(systems.store) == after == in_shop(shop)


def test_a_second_run_of_the_same_stream_waits_for_the_first(systems: Systems) -> None:
    """Two runs that move one watermark would each hide the other's open rows."""
    holder = extract(INVENTORY, systems, FULL)

    with pytest.raises(LeaseHeld, match=f"is held by run {holder}") as raised:
        extract(INVENTORY, systems, DELTA)

    assert raised.value.hint == Hint(HintId.SHOW_RUN, holder)


def test_a_page_that_takes_longer_than_a_lease_lives_costs_no_lease(
    systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits its turn at a slow rate limit; another run that took over would wait as long, and so on."""
    page, others = systems.source.page, list[str]()

    def slow(*args: Any, **options: Any) -> Any:
        if not others:
            time.sleep(2.2)
            with pytest.raises(LeaseHeld) as refused:
                extract(INVENTORY, systems, DELTA)
            others.append(refused.value.holder)
        return page(*args, **options)

    monkeypatch.setattr(systems.source, "page", slow)
    patient = replace(systems, lease_life=timedelta(seconds=1.5), pages_in_flight=1)

    assert [extract(INVENTORY, patient, FULL)] == others


def test_a_worker_that_slept_through_its_lease_cannot_commit(systems: Systems) -> None:
    """The zombie wakes in the middle of its load; another run has taken over and finished."""
    zombie = extract(INVENTORY, systems, FULL)
    validate(INVENTORY, systems, zombie)
    with systems.store.transaction() as work:
        sleeping = ledger.get(work, zombie)
        leases.release(work, KEY, zombie)
    run(systems, FULL)

    nothing = batches.Content(accepted=[], rejected=[], repeats=Counts())
    with pytest.raises(LeaseLost), systems.store.transaction() as work:  # noqa: PT012  the transaction is the point
        (batch,) = batches.of_run(work, zombie)
        batches.load(work, INVENTORY.dataset, sleeping, batch, nothing)

    assert query(systems.store, "SELECT state FROM sync_run ORDER BY started_at") == [("failed",), ("done",)]


def test_rows_that_are_busy_stay_open_and_the_next_run_reads_exactly_those(
    shop: FakeRetailer, systems: Systems, hub_dsn: str
) -> None:
    """Of 1,200 records 7 fail for a passing reason: the next run, with no source change, tries those 7."""
    systems = replace(systems, overlap=timedelta(0))
    run(systems, FULL)
    moved = simulate(shop.state, stock_moves=100)["inventory"]
    time.sleep(1.1)  # the source's clock has whole seconds: let the second of the moves end
    busy = [row["id"] for row in moved[:7]]
    with psycopg.connect(hub_dsn, options="-c search_path=hub") as other:
        other.execute("SELECT FROM inventory WHERE id = ANY(%s) FOR UPDATE", [busy])
        first = run(systems)

    second = run(systems)

    assert (first.counts.updated, first.counts.held) == (93, 7)
    assert first.state is RunState.PARTIAL
    assert (second.counts.read, second.counts.updated) == (7, 7)
    assert in_hub(systems.store) == in_shop(shop)
    assert query(systems.store, "SELECT count(*) FROM deferred_record") == [(0,)]


def test_drift_is_recorded_when_it_is_seen_and_kept_by_the_worker_that_continues(
    shop: FakeRetailer, systems: Systems, tmp_path: Path
) -> None:
    """
    A source that changed its records is often what stops the run: noted at its end only, the one thing that says why is
    lost. Whoever goes on after it sees the later pages alone.
    """
    first = sorted(shop.state.collection("inventory").rows(), key=lambda row: row.id)[:300]
    for row in first:
        shop.state.change("inventory", row.id, lambda document: document.update(colour="red"))
    small = replace(INVENTORY, batch_records=100)
    run_id = extract(small, systems, FULL)
    (later,) = query(systems.store, "SELECT path FROM landed_page ORDER BY range_no DESC, page_no DESC LIMIT 1")[0]

    class Broken(Landing):
        def read(self, name: str) -> bytes:
            if name == later:
                raise LandingUnavailable(name)
            return super().read(name)

    with pytest.raises(LandingUnavailable):
        validate(small, replace(systems, landing=Broken(str(tmp_path / "landing"))), run_id)
    noted = "SELECT jsonb_path_query_array(drift, '$[*].field') FROM sync_run"
    assert query(systems.store, noted) == [(["colour"],)]

    load(small, systems, validate(small, systems, run_id))
    assert query(systems.store, noted) == [(["colour"],)]


def test_a_file_is_on_disk_before_a_row_names_it(systems: Systems, tmp_path: Path) -> None:
    """When the power goes, PostgreSQL keeps its rows: a page or a batch that one of them names must be there as well."""
    settled: list[str] = []

    class Watched(Landing):
        def sync_to_disk(self, names: object) -> None:
            with systems.store.another() as other:
                recorded = query(other, "SELECT path FROM landed_page")
                assert query(other, "SELECT count(*) FROM sync_batch") == [(0,)]
            for name in names:  # type: ignore[attr-defined]
                assert (name,) not in recorded
                settled.append(name)
            super().sync_to_disk(settled)

    watched = replace(systems, landing=Watched(str(tmp_path / "watched")))
    run_id = extract(INVENTORY, watched, FULL)
    pages = query(systems.store, "SELECT path FROM landed_page")
    assert sorted(settled) == sorted(path for (path,) in pages)

    settled.clear()
    validate(INVENTORY, watched, run_id)
    assert settled == [f"{run_id}/batch-00000{end}" for end in (".arrow.zst", ".rejected.json.zst")]


def test_a_run_with_a_landed_page_that_no_batch_has_does_not_end(systems: Systems) -> None:
    """Ended as done, it would move the watermark past records that were read and never loaded."""
    small = replace(INVENTORY, batch_records=500)
    run_id = validate(small, systems, extract(small, systems, FULL))
    query(systems.store, "DELETE FROM sync_batch WHERE batch_no = 1 RETURNING 1")

    with pytest.raises(batches.Unaccounted, match="landed 1200 records and loaded 700"):
        load(small, systems, run_id)

    assert query(systems.store, "SELECT state FROM sync_run") == [("running",)]
    assert watermark(systems.store) is None


def test_batches_of_a_read_by_time_are_loaded_one_after_the_other(
    shop: FakeRetailer, systems: Systems, tmp_path: Path
) -> None:
    """A record that changes while it is read is in two of them, and its versions are published in their order."""
    small = replace(INVENTORY, batch_records=100)
    run(systems, FULL)
    simulate(shop.state, stock_moves=250)
    time.sleep(1.1)  # the source's clock has whole seconds: let the second of the moves end
    run_id = validate(small, systems, extract(small, systems, DELTA))
    loaded = "SELECT batch_no FROM sync_batch WHERE run_id = %s AND loaded_at IS NOT NULL ORDER BY loaded_at"

    class FirstIsSlow(Landing):
        """Gives a second thread the time to load the second batch before the first."""

        def read(self, name: str) -> bytes:
            if name == f"{run_id}/batch-000000.arrow.zst":
                until = time.monotonic() + 1
                with systems.store.another() as other:
                    while not query(other, loaded, run_id) and time.monotonic() < until:
                        time.sleep(0.05)
            return super().read(name)

    load(small, replace(systems, landing=FirstIsSlow(str(tmp_path / "landing"))), run_id)

    order = [number for (number,) in query(systems.store, loaded, run_id)]
    assert len(order) > 2
    assert order == sorted(order)


def test_a_full_read_is_loaded_on_two_connections_however_many_batches_it_has(
    systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one waits for the disk the other works. More would be taken from everybody else, and each holds a batch."""
    small = replace(INVENTORY, batch_records=100)
    run_id = validate(small, systems, extract(small, systems, FULL))
    another, opened = systems.store.another, 0

    def counted() -> Store:
        nonlocal opened
        opened += 1
        return another()

    monkeypatch.setattr(systems.store, "another", counted)
    report = load(small, systems, run_id)

    assert report.counts.inserted == 1_200
    assert query(systems.store, "SELECT count(*) >= 12 FROM sync_batch") == [(True,)]
    assert opened == 2


def test_a_run_that_is_overtaken_after_its_last_batch_does_not_end_as_done(systems: Systems) -> None:
    """The newer run has the stream: an end of the older one would close its alerts and say that all was loaded."""
    run_id = validate(INVENTORY, systems, extract(INVENTORY, systems, FULL))

    def overtake(_: str) -> None:
        with systems.store.another() as other, other.transaction() as work:
            leases.release(work, KEY, run_id)
            newer = ledger.start(work, KEY, FULL, mode=Mode.FULL)
            leases.take(work, KEY, newer.run_id, timedelta(minutes=5))

    with pytest.raises(LeaseLost):
        load(INVENTORY, replace(systems, progress=overtake), run_id)

    assert query(systems.store, "SELECT state FROM sync_run WHERE run_id = %s", run_id) != [("done",)]
    assert query(systems.store, "SELECT count(*) FROM sync_run WHERE finished_at IS NULL AND state = 'running'") == [
        (1,)
    ]


def test_a_run_that_was_overtaken_plans_nothing(systems: Systems) -> None:
    """It asked the source while the newer run began: ranges of its own would be read by a worker without a lease."""
    with systems.store.transaction() as work:
        older = ledger.start(work, KEY, FULL, mode=Mode.FULL)
        leases.take(work, KEY, older.run_id, timedelta(minutes=5))
        older = ledger.get(work, older.run_id)
        leases.release(work, KEY, older.run_id)
        newer = ledger.start(work, KEY, FULL, mode=Mode.FULL)
        leases.take(work, KEY, newer.run_id, timedelta(minutes=5))

    with pytest.raises(LeaseLost):
        planned_ranges(INVENTORY, systems, older)

    assert query(systems.store, "SELECT count(*) FROM sync_range") == [(0,)]
    assert query(systems.store, "SELECT count(*) FROM sync_run WHERE window_high IS NOT NULL") == [(0,)]
