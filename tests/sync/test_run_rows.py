"""What became of each record of a run can be listed: what it changed, rejected or put off."""

from __future__ import annotations

from crossdock.commerce.inventory.schema import StockLevel
from crossdock.db.database import Store
from crossdock.sync import deferred_records, ledger
from crossdock.sync.run_rows_repository import Outcome, Place, rows_of
from tests.sync.test_batches import begin, end, load, rejected, stock


def listed(
    store: Store, run: ledger.Run, *, outcome: Outcome | None = None, after: Place | None = None, limit: int = 100
) -> list[tuple[str, str, int | None]]:
    with store.transaction() as work:
        found = rows_of(work, StockLevel.schema, run, outcome=outcome, after=after, limit=limit)
    return [(row.outcome.value, row.record_id, row.version) for row in found]


def test_each_record_that_was_changed_or_rejected_is_listed(store: Store) -> None:
    first = begin(store)
    load(store, first, [stock("a", 1), stock("b", 1)])
    end(store, first)
    second = begin(store)
    counts = load(store, second, [stock("a", 2), stock("b", 1), stock("c", 1)], bad=(rejected("d", 7),))

    assert listed(store, second) == [("updated", "a", 2), ("inserted", "c", 1), ("rejected", "d", 7)]
    assert (counts.updated, counts.inserted, counts.rejected, counts.unchanged) == (1, 1, 1, 1)


def test_a_version_that_was_superseded_since_is_still_the_one_that_its_run_wrote(store: Store) -> None:
    first = begin(store)
    load(store, first, [stock("a", 1), stock("b", 1)])
    end(store, first)
    load(store, begin(store), [stock("a", 2)])

    assert listed(store, first) == [("inserted", "a", 1), ("inserted", "b", 1)]


def test_a_run_that_inserts_and_updates_a_record_lists_both_versions(store: Store) -> None:
    run = begin(store)
    load(store, run, [stock("a", 1)])
    load(store, run, [stock("a", 3)], batch_no=1)

    assert listed(store, run) == [("inserted", "a", 1), ("updated", "a", 3)]


def test_every_run_that_rejected_a_record_lists_it(store: Store) -> None:
    """The item itself names its first and last run only."""
    runs = []
    for _ in range(3):
        run = begin(store)
        load(store, run, [], bad=(rejected("d"),))
        end(store, run)
        runs.append(run)

    assert [listed(store, run) for run in runs] == [[("rejected", "d", 1)]] * 3


def test_a_record_that_was_fixed_and_comes_again_is_not_rejected(store: Store) -> None:
    run = begin(store)
    load(store, run, [], bad=(rejected("d"),))
    end(store, run)
    with store.transaction() as work:
        work.execute(b"UPDATE quarantine_item SET state = 'replayed'")
    again = begin(store)

    assert load(store, again, [], bad=(rejected("d"),)).unchanged == 1
    assert listed(store, again) == []


def test_what_is_held_is_listed_until_it_is_loaded(store: Store) -> None:
    run = begin(store)
    with store.transaction() as work:
        deferred_records.defer(work, run, ["z"], "locked")
    held = listed(store, run)
    end(store, run)
    later = begin(store)
    load(store, later, [stock("z", 4)])

    assert held == [("held", "z", None)]
    assert listed(store, run) == []
    assert listed(store, later) == [("inserted", "z", 4)]


def test_what_is_held_again_is_listed_for_the_first_and_the_last_run_that_held_it(store: Store) -> None:
    runs = []
    for _ in range(3):
        run = begin(store)
        with store.transaction() as work:
            deferred_records.defer(work, run, ["z"], "locked")
        end(store, run)
        runs.append(run)

    assert [listed(store, run) for run in runs] == [[("held", "z", None)], [], [("held", "z", None)]]


def test_a_held_record_has_the_key_that_the_hub_knows(store: Store) -> None:
    run = begin(store)
    load(store, run, [stock("a", 1)])
    with store.transaction() as work:
        deferred_records.defer(work, run, ["a", "z"], "locked")
        found = rows_of(work, StockLevel.schema, run, outcome=Outcome.HELD)

    assert [(row.record_id, row.record_key) for row in found] == [("a", "SKU-a"), ("z", None)]


def test_a_record_that_went_and_came_again_is_inserted_twice(store: Store) -> None:
    """Parts of a record go that way: the batch that ended one wrote no version of it."""
    first, second = begin(store), begin(store, shard="webhook:1")
    load(store, first, [stock("a", 1)])
    with store.transaction() as work:
        work.execute(
            b"WITH gone AS (DELETE FROM inventory RETURNING *)"
            b" INSERT INTO inventory_history (integration, id, version, sku, quantity_on_stock, available_quantity, created_at,"
            b" last_modified_at, batch_id, superseded_by) SELECT integration, id, version, sku, quantity_on_stock,"
            b" available_quantity, created_at, last_modified_at, batch_id, batch_id + 1000 FROM gone"
        )
    load(store, second, [stock("a", 2)])

    assert listed(store, first) == [("inserted", "a", 1)]
    assert listed(store, second) == [("inserted", "a", 2)]


def test_another_shop_with_the_same_ids_has_rows_of_its_own(store: Store) -> None:
    ours, theirs = begin(store), begin(store, integration="shop_us")
    load(store, ours, [stock("a", 1)])
    load(store, theirs, [stock("a", 5)])

    assert listed(store, ours) == [("inserted", "a", 1)]
    assert listed(store, theirs) == [("inserted", "a", 5)]


def test_pages_have_each_row_once_and_one_outcome_can_be_chosen(store: Store) -> None:
    first = begin(store)
    load(store, first, [stock(f"r{number}", 1) for number in range(0, 20, 2)])
    end(store, first)
    run = begin(store)
    load(store, run, [stock(f"r{number}", 2) for number in range(20)], bad=(rejected("r5", 9), rejected("x")))
    pages, after = list[tuple[str, str, int | None]](), None
    while page := listed(store, run, after=after, limit=3):
        pages += page
        outcome, record_id, version = page[-1]
        after = (record_id, version or 0, outcome)

    assert pages == listed(store, run)
    assert len(set(pages)) == len(pages) == 22
    assert len(listed(store, run, outcome=Outcome.UPDATED)) == 10
    assert listed(store, run, outcome=Outcome.REJECTED) == [("rejected", "r5", 9), ("rejected", "x", 1)]


def test_a_deleted_run_takes_its_list_with_it_and_the_items_stay(store: Store) -> None:
    run = begin(store)
    load(store, run, [], bad=(rejected("d"),))
    with store.transaction() as work:
        work.execute(b"DELETE FROM sync_run")
        left = work.execute(
            b"SELECT (SELECT count(*) FROM rejection), (SELECT count(*) FROM quarantine_item)"
        ).fetchone()

    assert left == (0, 1)
