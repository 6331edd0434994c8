"""The same version with other content is a change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crossdock.commerce.inventory import repository as inventory_repository
from crossdock.commerce.inventory.repository import StockState
from crossdock.db.database import Store
from crossdock.sync import records
from crossdock.sync.dataset import Record
from crossdock.sync.model import Counts, SyncRequest
from tests.connectors.declarative.worlds import APIS, a_shop, a_sync, data_of, declared, refused
from tests.shop import query

SECOND = "2026-10-01T09:00:00Z"
api = pytest.mark.parametrize("api", APIS)


def row(number: int, size: Any, at: str = SECOND) -> dict[str, Any]:
    return {"id": number, "name": f"S-{number}", "size": size, "at": at}


@api
def test_a_second_change_within_one_second_is_read(api: str, store: Store, tmp_path: Path) -> None:
    """A time in whole seconds stands still while a shop sells."""
    rows = [row(1, 5), row(2, 7)]
    with a_shop(api, lambda _: {"items": rows}) as url:
        sync = a_sync(declared(api), url, store, tmp_path)
        sync()
        rows[0] = row(1, 3)
        changed, again = sync(), sync(SyncRequest(full=True))

    assert changed.counts == Counts(read=2, updated=1, unchanged=1)
    assert again.counts == Counts(read=2, unchanged=2)
    assert data_of(store)["S-1"]["size"] == 3
    events = query(store, "SELECT data::jsonb->'data'->>'size' FROM event WHERE subject = 'record/1' ORDER BY position")
    assert events == [("5",), ("3",)]


def test_each_content_of_a_version_is_kept_in_the_history(store: Store, tmp_path: Path) -> None:
    rows = [row(1, 5)]
    with a_shop("rest", lambda _: {"items": rows}) as url:
        sync = a_sync(declared("rest"), url, store, tmp_path)
        for size in (5, 3, 5, 8):
            rows[0] = row(1, size)
            sync()

    kept = query(store, "SELECT data->>'size' FROM record_history WHERE id = '1' ORDER BY superseded_by")
    assert kept == [("5",), ("3",), ("5",)]
    with store.transaction() as work:
        (now,) = records.as_of(work, Record.schema, "a_list", "S-1", query(store, "SELECT now()")[0][0])
    assert now["data"]["size"] == 8
    assert "superseded_by" not in now


def test_an_older_version_is_stale_whatever_its_content(store: Store, tmp_path: Path) -> None:
    rows = [row(1, 5)]
    with a_shop("rest", lambda _: {"items": rows}) as url:
        sync = a_sync(declared("rest"), url, store, tmp_path)
        sync()
        rows[0] = row(1, 3, "2026-10-01T08:59:59Z")
        report = sync()

    assert report.counts == Counts(read=1, stale=1)
    assert data_of(store)["S-1"]["size"] == 5


def test_a_system_that_counts_its_changes_may_be_compared_by_version_alone(store: Store, tmp_path: Path) -> None:
    """It costs less, and a field that changes with each reading is no change."""
    rows = [row(1, 5)]
    with a_shop("rest", lambda _: {"items": rows}) as url:
        sync = a_sync(declared("rest", identity={"compare": "version"}), url, store, tmp_path)
        sync()
        rows[0] = row(1, 3)
        report = sync()

    assert report.counts == Counts(read=1, unchanged=1)


def test_of_a_record_that_comes_twice_in_one_run_the_last_content_counts(store: Store, tmp_path: Path) -> None:
    """It changed between two pages; the source was right both times."""
    with a_shop("rest", lambda _: {"items": [row(1, 5), row(1, 3), row(1, 3), row(2, 1)]}) as url:
        report = a_sync(declared("rest"), url, store, tmp_path)()

    assert report.counts == Counts(read=4, inserted=2, stale=1, unchanged=1)
    assert data_of(store)["S-1"]["size"] == 3


def test_other_bad_content_of_a_version_opens_its_item_again(store: Store, tmp_path: Path) -> None:
    """A person discarded the first; nobody has seen the second."""
    rows = [row(1, "many")]
    with a_shop("rest", lambda _: {"items": rows}) as url:
        sync = a_sync(declared("rest"), url, store, tmp_path)
        sync()
        with store.transaction() as work:
            work.execute(b"UPDATE quarantine_item SET state = 'discarded'")
        sync()
        assert refused(store) == {}
        rows[0] = row(1, "few")
        sync()

    assert "few" in refused(store)["1"]


def test_a_record_that_breaks_again_within_its_second_is_in_quarantine_again(store: Store, tmp_path: Path) -> None:
    """It was bad, then good, then bad as before: the hub must not show the good one without a word."""
    rows = [row(1, "many")]
    with a_shop("rest", lambda _: {"items": rows}) as url:
        sync = a_sync(declared("rest"), url, store, tmp_path)
        sync()
        rows[0] = row(1, 5)
        sync()
        assert refused(store) == {}
        rows[0] = row(1, "many")
        sync()

    assert "many" in refused(store)["1"]


def test_the_stock_for_sale_follows_the_later_content_of_a_version(store: Store) -> None:
    """Also if the two events are applied together, or the first comes once more."""
    noon = datetime(2026, 10, 1, 12, tzinfo=UTC)
    first = StockState("/integrations/a_list", "1", "S-1", None, available=5, version=7, as_of=noon)
    later = first._replace(available=3, as_of=noon + timedelta(seconds=1))
    for events in ([first], [later], [first], [first, later], [later, first]):
        with store.transaction() as work:
            inventory_repository.upsert(work, events)

    assert query(store, "SELECT available FROM stock_availability WHERE id = '1'") == [(3,)]
