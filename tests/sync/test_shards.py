"""A sync that is shared among workers, each with a shard of the ids, ends as one that is not."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.core.errors import BadRequest, HeldForApproval
from crossdock.core.limits import MAX_SHARDS
from crossdock.db import leases
from crossdock.db.database import Store
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.simulation import simulate
from crossdock.sync import Systems, deferred_records, extract, ledger, load, validate, watermarks
from crossdock.sync.model import Mode, Report, SyncRequest
from crossdock.sync.source import Axis
from crossdock.sync.window import planned_ranges
from tests.shop import in_hub, in_shop, query
from tests.streams import INVENTORY

FULL = SyncRequest(full=True)
SHARDS = ("1/2", "2/2")


def sync(systems: Systems, request: SyncRequest, dag_run_id: str = "one") -> Report:
    with systems.store.another() as store:
        own = replace(systems, store=store)
        run_id = extract(INVENTORY, own, request, dag_id="sync_commercetools_inventory", dag_run_id=dag_run_id)
        return load(INVENTORY, own, validate(INVENTORY, own, run_id))


def share(systems: Systems, dag_run_id: str = "one", *, full: bool = True) -> list[Report]:
    """All shards at once, one worker for each."""
    with ThreadPoolExecutor(len(SHARDS)) as pool:
        requests = [SyncRequest(full=full, shard=shard) for shard in SHARDS]
        return list(pool.map(lambda request: sync(systems, request, dag_run_id), requests))


def test_the_shards_of_a_full_sync_read_the_same_as_the_whole(systems: Systems, shop: FakeRetailer) -> None:
    reports = share(systems)

    assert all(report.counts.inserted > 400 for report in reports), "one shard did nearly all of it"
    assert sum(report.counts.read for report in reports) == len(in_shop(shop))
    assert in_hub(systems.store) == in_shop(shop)


def test_the_shards_of_a_delta_bring_each_change_once(systems: Systems, shop: FakeRetailer) -> None:
    """Each reads its own ids only, from its own watermark."""
    share(systems, dag_run_id="full")
    simulate(shop.state, stock_moves=60)

    reports = share(systems, dag_run_id="delta", full=False)

    assert in_hub(systems.store) == in_shop(shop)
    events = query(systems.store, "SELECT count(*) FROM event")[0][0]
    assert events == 1_200 + sum(report.counts.updated for report in reports)


def test_shards_continue_from_the_watermark_of_the_whole_and_the_whole_from_its_own(
    systems: Systems, shop: FakeRetailer
) -> None:
    """Sharing is switched on and off by a setting: neither way may read all again, nor miss a change."""
    sync(systems, FULL, "whole")
    simulate(shop.state, stock_moves=10)
    time.sleep(1)  # A watermark stays before the second in which the source is read.
    shared = share(systems, dag_run_id="shared", full=False)
    assert {row[0] for row in query(systems.store, "SELECT shard FROM watermark")} == {
        "all",
        "shard:1/2",
        "shard:2/2",
    }
    simulate(shop.state, stock_moves=10)
    sync(systems, SyncRequest(), "whole again")

    assert in_hub(systems.store) == in_shop(shop)
    assert sum(report.counts.read for report in shared) < 100


def test_a_record_that_was_left_open_is_read_again_by_the_shard_that_has_its_id(systems: Systems, store: Store) -> None:
    share(systems, dag_run_id="full")
    ids = sorted(in_hub(store))
    with store.transaction() as work:
        (run, _) = ledger.of_dag_run(work, "full", "commercetools.inventory", dag_id="sync_commercetools_inventory")
        deferred_records.defer(work, run, [ids[0], ids[-1]], "it was locked")

    reports = share(systems, dag_run_id="delta", full=False)

    assert [report.counts.unchanged for report in reports] == [1, 1]
    assert query(store, "SELECT record_id FROM deferred_record") == []


def test_each_open_record_is_planned_by_the_one_shard_that_has_its_id(systems: Systems, store: Store) -> None:
    """Also one whose id is a bound: read by both it counts twice, read by neither it stays open for ever."""
    bound = SyncRequest(shard="1/2").ids[1]
    assert bound is not None
    ids = ["0", "7fff", bound, f"{bound}0", "z"]
    planned: dict[str, set[str]] = {}
    for shard in (None, *SHARDS):
        request = SyncRequest(shard=shard)
        with store.transaction() as work:
            lease = leases.LeaseKey("commercetools", "inventory", f"shard:{shard}" if shard else "all")
            run = ledger.start(work, lease, request, mode=Mode.DELTA, dag_run_id=shard)
            leases.take(work, lease, run.run_id, timedelta(minutes=5))
            run = ledger.get(work, run.run_id)
            deferred_records.defer(work, run, ids, "it was locked")
        parts = planned_ranges(INVENTORY, systems, run)
        planned[shard or "all"] = {key for part in parts if part.axis is Axis.KEYS for key in part.keys}

    assert planned["all"] == set(ids)
    assert planned["1/2"] | planned["2/2"] == set(ids)
    assert planned["1/2"] & planned["2/2"] == set()
    assert bound in planned["1/2"]


def test_a_divided_stream_is_complete_as_far_as_its_slowest_shard(store: Store) -> None:
    """Or as far as it was before it was divided; while a shard has never run, that alone is known."""
    early, late = datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC)
    for shard, reached in (("all", early), ("shard:2/2", late)):
        query(store, "INSERT INTO watermark VALUES ('shop', 'inventory', %s, %s, 'a run') RETURNING 1", shard, reached)

    def reached_by(shards: int) -> datetime | None:
        with store.transaction() as work:
            return watermarks.complete_to_all(work, [("shop.inventory", shards)])["shop.inventory"]

    assert reached_by(2) == early, "the first has never run"
    middle = early + timedelta(hours=1)
    query(store, "INSERT INTO watermark VALUES ('shop', 'inventory', 'shard:1/2', %s, 'a run') RETURNING 1", middle)
    assert reached_by(2) == middle
    query(store, "UPDATE watermark SET reached = %s WHERE shard = 'all' RETURNING 1", late)
    assert reached_by(2) == late
    query(store, "UPDATE watermark SET reached = %s WHERE shard = 'all' RETURNING 1", early)
    assert reached_by(1) == early
    with store.transaction() as work:
        assert watermarks.complete_to_all(work, [("shop.orders", 1)]) == {"shop.orders": None}


def test_a_shard_that_comes_back_much_shrunken_is_held(systems: Systems, shop: FakeRetailer) -> None:
    share(systems)
    shop.faults.put("inventory", [{"empty": True}], repeat=True)

    with pytest.raises(HeldForApproval):
        sync(systems, SyncRequest(full=True, shard="1/2"), "two")


def test_an_empty_shard_of_a_new_hub_is_not_held(systems: Systems, shop: FakeRetailer) -> None:
    """Ids need not be spread: a shard may have none, and nothing was ever known of it."""
    for row in shop.state.collection("inventory").rows():
        if row.id < "80":
            shop.state.delete("inventory", row.id, row.version)

    assert sync(systems, SyncRequest(full=True, shard="1/2")).counts.read == 0


@given(st.text(max_size=6), st.integers(1, MAX_SHARDS))
def test_each_id_lies_in_exactly_one_shard(record_id: str, of: int) -> None:
    within = 0
    for number in range(1, of + 1):
        low, high = SyncRequest(shard=f"{number}/{of}").ids
        within += (low is None or record_id > low) and (high is None or record_id <= high)

    assert within == 1


@pytest.mark.parametrize("shard", ["", "1", "0/2", "3/2", "1/17", "a/b", "1/2/3", "-1/2"])
def test_an_invalid_shard_is_refused(shard: str) -> None:
    with pytest.raises(BadRequest, match="1/2"):
        SyncRequest(shard=shard)


@pytest.mark.parametrize("other", [{"keys": ("A",)}, {"limit": 3}, {"backfill_day": "2026-11-21"}])
def test_a_shard_cannot_be_combined_with_keys_limit_or_backfill(other: dict[str, object]) -> None:
    with pytest.raises(BadRequest, match="whole sync"):
        SyncRequest(shard="1/2", **other)  # type: ignore[arg-type]
