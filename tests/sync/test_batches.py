"""A batch is loaded whole or not at all, and the highest version wins in any order of arrival."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crossdock.commerce.inventory.schema import StockLevel
from crossdock.core.errors import LeaseHeld, LeaseLost
from crossdock.db import leases
from crossdock.db.columns import as_columns
from crossdock.db.database import Store, StoreUnavailable
from crossdock.sync import batches, deferred_records, landing, ledger, watermarks
from crossdock.sync.compare_versions import NOTHING, ComparedRows
from crossdock.sync.landing import Page
from crossdock.sync.model import Counts, Mode, RowCounts, RunState, SyncRequest, Window
from crossdock.sync.quarantine import repository as quarantine_repository
from crossdock.sync.quarantine.model import Failure, Rejected, Warned
from crossdock.sync.source import Axis, Range
from crossdock.sync.upsert import Overtaken, upsert
from tests.shop import query

MARCH = datetime(2026, 3, 1, 8, tzinfo=UTC)


def stock(record_id: str, version: int) -> tuple[Any, ...]:
    """A row whose quantity shows its version."""
    fields = {
        "id": record_id,
        "version": version,
        "sku": f"SKU-{record_id}",
        "quantity_on_stock": version,
        "available_quantity": version,
        "created_at": MARCH,
        "last_modified_at": MARCH + timedelta(minutes=version),
    }
    return tuple(fields.get(name) for name in StockLevel.schema.column_names)


def columns(rows: list[tuple[Any, ...]]) -> Any:
    import pyarrow as pa

    names = StockLevel.schema.column_names
    values = {name: [row[number] for row in rows] for number, name in enumerate(names)}
    return pa.Table.from_batches([as_columns(StockLevel.schema.columns, values)])


def rejected(record_id: str, version: int = 1) -> Rejected:
    why = Failure(rule="sku_is_present", column="sku", message="give it its sku", value="")
    return Rejected(record_id=record_id, record_key=None, version=version, failures=(why,), raw=b"{}")


def begin(store: Store, shard: str = "all", mode: Mode = Mode.FULL, integration: str = "commercetools") -> ledger.Run:
    key = leases.LeaseKey(integration, "inventory", shard)
    with store.transaction() as work:
        run = ledger.start(work, key, SyncRequest(full=True, limit=1), mode=mode)
        leases.take(work, key, run.run_id, timedelta(minutes=1))
        return ledger.get(work, run.run_id)


def load(
    store: Store, run: ledger.Run, rows: Iterable[tuple[Any, ...]], *, batch_no: int = 0, bad: tuple[Rejected, ...] = ()
) -> Counts:
    rows = list(rows)
    content = batches.Content(accepted=columns(rows), rejected=bad, repeats=RowCounts())
    with store.transaction() as work:
        batches.add(work, run.run_id, batch_no, records=len(rows) + len(bad))
    with store.transaction() as work:
        batch = batches.of_run(work, run.run_id)[batch_no]
        return batches.load(work, StockLevel.schema, run, batch, content).records


def end(store: Store, run: ledger.Run) -> None:
    with store.transaction() as work:
        ledger.finish(work, run.run_id, RunState.DONE)
        leases.release(work, run.lease, run.run_id)


def quantities(store: Store) -> dict[str, int]:
    return dict(query(store, "SELECT id, quantity_on_stock FROM inventory"))  # type: ignore[arg-type]


def test_each_row_of_a_batch_is_new_changed_known_or_old(store: Store) -> None:
    run = begin(store)
    load(store, run, [stock("changed", 1), stock("known", 2), stock("old", 3)])

    counts = load(store, run, [stock("new", 1), stock("changed", 2), stock("known", 2), stock("old", 2)], batch_no=1)

    assert (counts.inserted, counts.updated, counts.unchanged, counts.stale) == (1, 1, 1, 1)
    assert quantities(store) == {"new": 1, "changed": 2, "known": 2, "old": 3}


def test_a_batch_that_is_loaded_again_counts_nothing(store: Store) -> None:
    """A worker that was killed after its commit."""
    run = begin(store)
    load(store, run, [stock("a", 1)])

    assert load(store, run, [stock("a", 1)]) == Counts()
    assert query(store, "SELECT read FROM sync_run") == [(1,)]


def test_records_without_lines_count_none(store: Store) -> None:
    """A stock level has no lines: a line that was read and has no outcome would not balance."""
    run = begin(store)
    load(store, run, [stock("a", 1)])

    assert query(store, "SELECT lines_read, lines_inserted FROM sync_run") == [(0, 0)]


@pytest.mark.parametrize(
    ("first", "last", "loaded"),
    [
        ((0, 1), (1, 0), [(0, 1), (0, 2), (1, 0)]),
        ((0, 0), (0, 0), [(0, 0)]),
        ((1, 1), (1, 1), [(1, 1)]),
    ],
)
def test_a_batch_marks_its_own_pages_as_loaded_and_no_others(
    store: Store, first: tuple[int, int], last: tuple[int, int], loaded: list[tuple[int, int]]
) -> None:
    """Batches may be loaded in any order: the watermark would pass a page before it whose batch is still open."""
    run = begin(store)
    places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    with store.transaction() as work:
        landing.add_ranges(work, run.run_id, [Range(range_no=number, axis=Axis.ID) for number in (0, 1)])
        for range_no, page_no in places:
            page = Page(range_no=range_no, page_no=page_no, records=1, lines=0, path="p", cursor=None)
            landing.add_pages(work, run.run_id, [(page, 2)])
        batches.add(work, run.run_id, 0, records=1, first_page=first, last_page=last)
        (batch,) = batches.of_run(work, run.run_id)
        content = batches.Content(accepted=columns([stock("a", 1)]), rejected=(), repeats=RowCounts())
        batches.load(work, StockLevel.schema, run, batch, content)

    assert query(store, "SELECT range_no, page_no FROM landed_page WHERE loaded ORDER BY 1, 2") == loaded


def test_a_batch_whose_files_hold_fewer_records_than_were_read_is_refused(store: Store) -> None:
    """The watermark would pass those that are missing."""
    run = begin(store)
    with store.transaction() as work:
        batches.add(work, run.run_id, 0, records=3)

    content = batches.Content(accepted=columns([stock("a", 1), stock("b", 1)]), rejected=(), repeats=RowCounts())
    with pytest.raises(batches.Unaccounted, match="2 records, but 3 were read"), store.transaction() as work:  # noqa: PT012
        (batch,) = batches.of_run(work, run.run_id)
        batches.load(work, StockLevel.schema, run, batch, content)

    assert quantities(store) == {}


def test_history_holds_superseded_versions_and_nothing_else(store: Store) -> None:
    run = begin(store)
    for version in (1, 2, 2, 5, 4):
        batch_no = len(query(store, "SELECT FROM sync_batch"))
        load(store, run, [stock("a", version), stock("b", 1)], batch_no=batch_no)

    assert query(store, "SELECT id, version FROM inventory_history ORDER BY version") == [("a", 1), ("a", 2)]
    assert query(
        store,
        "SELECT b.batch_no FROM inventory_history h JOIN sync_batch b ON b.batch_id = h.superseded_by ORDER BY 1",
    ) == [(1,), (3,)]


def test_a_batch_that_is_rolled_back_leaves_nothing(store: Store) -> None:
    """Rows, history, events, quarantine and counts are one."""
    run = begin(store)
    load(store, run, [stock("a", 1)])
    before = everything(store)

    with pytest.raises(ZeroDivisionError), store.transaction() as work:  # noqa: PT012  it fails after the load
        batches.add(work, run.run_id, 1, records=3)
        batch = batches.of_run(work, run.run_id)[1]
        rows = columns([stock("a", 2), stock("b", 1)])
        content = batches.Content(accepted=rows, rejected=(rejected("c"),), repeats=RowCounts())
        batches.load(work, StockLevel.schema, run, batch, content)
        raise ZeroDivisionError

    assert everything(store) == before


def everything(store: Store) -> list[Any]:
    tables = ("inventory", "inventory_history", "event", "quarantine_item", "sync_batch", "sync_run", "deferred_record")
    return [query(store, f"SELECT t::text FROM {table} t ORDER BY 1") for table in tables]


def test_a_run_that_lost_its_lease_writes_nothing(store: Store) -> None:
    run = begin(store)
    with store.transaction() as work:
        leases.release(work, run.lease, run.run_id)
    begin(store)

    with pytest.raises(LeaseLost):
        load(store, run, [stock("a", 1)])

    assert quantities(store) == {}


def test_an_edited_version_that_is_read_again_is_unchanged(store: Store) -> None:
    """What a person replayed is in the hub; the source still sends it as it was."""
    run = begin(store)
    load(store, run, [], bad=(rejected("a"), rejected("b")))
    query(store, "UPDATE quarantine_item SET state = 'replayed' WHERE record_id = 'a' RETURNING 1")

    counts = load(store, run, [], batch_no=1, bad=(rejected("a"), rejected("b")))

    assert (counts.unchanged, counts.rejected) == (1, 1)


# Records that were busy


def leave_open(store: Store, run: ledger.Run, record_id: str) -> None:
    with store.transaction() as work:
        deferred_records.defer(work, run, [record_id], "the row was locked")


def still_open(store: Store) -> list[str]:
    with store.transaction() as work:
        return deferred_records.ids(work, "commercetools", "inventory")


def test_a_deferred_record_is_closed_by_a_later_run_that_loads_or_rejects_it(store: Store) -> None:
    """One that is rejected waits for a person; asking the source for it in each run changes nothing."""
    first = begin(store)
    leave_open(store, first, "loaded")
    leave_open(store, first, "rejected")
    leave_open(store, first, "absent")
    end(store, first)

    load(store, begin(store), [stock("loaded", 2)], bad=(rejected("rejected"),))

    assert still_open(store) == ["absent"]


def test_an_older_read_of_a_deferred_record_leaves_it_open(store: Store) -> None:
    """Version 5 was busy; a replay or a page from before brings version 3, and 5 must still be read again."""
    before = begin(store)
    leave_open(store, before, "busy")
    replay = begin(store, "replay", Mode.REPLAY)

    load(store, before, [stock("busy", 3)])
    load(store, replay, [stock("busy", 2)])

    assert still_open(store) == ["busy"]


def test_a_run_closes_only_records_that_were_deferred_before_it_began(store: Store) -> None:
    """It has read the younger one before it was deferred, in a version that is not the one that could not be loaded."""
    first = begin(store)
    leave_open(store, first, "older")
    end(store, first)
    run = begin(store)
    leave_open(store, run, "younger")

    load(store, run, [stock("older", 2), stock("younger", 2)])

    assert still_open(store) == ["younger"]


# Events


def test_each_change_has_one_event(store: Store) -> None:
    run = begin(store)
    load(store, run, [stock("a", 1), stock("b", 1)])
    load(store, run, [stock("a", 2), stock("b", 1)], batch_no=1)

    assert query(store, "SELECT subject, (data->>'version')::int FROM event ORDER BY epoch, xid, position") == [
        ("inventory/a", 1),
        ("inventory/b", 1),
        ("inventory/a", 2),
    ]


def test_an_event_of_another_source_is_kept_once_under_its_source_and_id(store: Store) -> None:
    """The hub's own events are identified by their position and have no ID; others may be sent twice."""
    append = (
        "INSERT INTO event (event_id, source, type, time, partition_key, data)"
        " VALUES (%s, %s, 't', now(), 'k', '{}') RETURNING 1"
    )
    for event_id, source in (("1", "/a"), ("1", "/b"), (None, "/a"), (None, "/a")):
        query(store, append, event_id, source)

    with pytest.raises(Exception, match="event_of_source"):
        query(store, append, "1", "/a")


def test_events_are_in_the_order_of_their_transactions_not_of_their_positions(store: Store, hub_dsn: str) -> None:
    """A consumer that reads by position alone would lose late commits."""
    append = (
        b"INSERT INTO event (source, type, time, partition_key, data)"
        b" VALUES ('s', %s, now(), 'k', '{}') RETURNING position"
    )
    with Store(hub_dsn) as another, store.transaction() as early:
        early.execute(b"SELECT pg_current_xact_id()")
        with another.transaction() as late:
            late.execute(append, ["late"])
        (unseen,) = query(another, "SELECT count(*) FROM event WHERE xid < pg_snapshot_xmin(pg_current_snapshot())")
        early.execute(append, ["early"])

    ordered = query(store, "SELECT type FROM event ORDER BY epoch, xid, position")
    by_position = query(store, "SELECT type FROM event ORDER BY position")
    assert unseen == (0,), "while an older transaction is open, nothing that is younger may be read"
    assert (ordered, by_position) == ([("early",), ("late",)], [("late",), ("early",)])


# Two writers


def test_two_writers_of_the_same_rows_leave_the_highest_version_and_counts_that_add_up(
    store: Store, hub_dsn: str
) -> None:
    """A sync and a person's replay have leases of their own and meet in the rows; neither may wait for ever."""
    ids = [f"stock-{number:02d}" for number in range(12)]
    errors: list[BaseException] = []
    totals = {"all": Counts(), "replay": Counts()}

    def write(shard: str, size: int) -> None:
        try:
            with Store(hub_dsn) as own:
                run = begin(own, shard)
                for turn in range(50):
                    # Each writer goes its own way through the rows, and both bring each version once or twice.
                    start = (turn * 7 + size) % len(ids)
                    chosen = [ids[(start - step) % len(ids)] for step in range(size)]
                    counts = load_again(own, run, [stock(each, turn + 1) for each in chosen], turn)
                    assert counts.balanced
                    totals[shard] += counts
                end(own, run)
        except BaseException as error:  # noqa: BLE001  reported to the test's own thread
            errors.append(error)

    writers = [threading.Thread(target=write, args=each) for each in (("all", 8), ("replay", 1))]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    assert errors == []
    newest = query(store, "SELECT data->>'id', max((data->>'version')::int) FROM event GROUP BY 1")
    assert quantities(store) == dict(newest)  # type: ignore[arg-type]
    changes = sum(counts.inserted + counts.updated for counts in totals.values())
    assert query(store, "SELECT count(*) FROM event") == [(changes,)]
    assert query(store, "SELECT count(DISTINCT (subject, data->>'version')) FROM event") == [(changes,)]
    updates = sum(counts.updated for counts in totals.values())
    assert query(store, "SELECT count(*) FROM inventory_history") == [(updates,)]
    assert query(store, "SELECT DISTINCT state FROM sync_run") == [("done",)]


def load_again(store: Store, run: ledger.Run, rows: list[tuple[Any, ...]], batch_no: int) -> Counts:
    """As the flow does: who was overtaken loads the batch again. A deadlock or a wait too long fails the test."""
    for _ in range(10):
        with contextlib.suppress(Overtaken):
            return load(store, run, rows, batch_no=batch_no)
    raise AssertionError(f"batch {batch_no} never came through")


def test_of_two_runs_that_begin_at_once_one_has_the_lease(hub_dsn: str) -> None:
    start = threading.Barrier(4)
    outcomes: list[str] = []

    def compete() -> None:
        with Store(hub_dsn) as own:
            query(own, "SELECT 1")
            start.wait(10)
            try:
                begin(own)
                outcomes.append("has it")
            except LeaseHeld:
                outcomes.append("waits")

    racers = [threading.Thread(target=compete) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(30)

    assert sorted(outcomes) == ["has it", "waits", "waits", "waits"]


def test_versions_of_one_record_are_published_in_their_order_whichever_transaction_began_first(
    store: Store, hub_dsn: str
) -> None:
    """Readers go by transaction. One that began first and writes last would be published first, before what it replaced."""
    sync_run = begin(store)
    load(store, sync_run, [stock("a", 4)])
    with store.transaction() as work:
        batches.add(work, sync_run.run_id, 1, records=1)

    with (  # noqa: PT012  the older transaction has to be open while the other writes
        pytest.raises(StoreUnavailable, match="A later transaction"),
        Store(hub_dsn) as another,
        store.transaction() as older,
    ):
        older.execute(b"SELECT pg_current_xact_id()")
        load(another, begin(another, "replay"), [stock("a", 5)])
        batch = batches.of_run(older, sync_run.run_id)[1]
        content = batches.Content(accepted=columns([stock("a", 6)]), rejected=(), repeats=RowCounts())
        batches.load(older, StockLevel.schema, sync_run, batch, content)
    load(store, sync_run, [stock("a", 6)], batch_no=1)

    published = query(store, "SELECT (data->>'version')::int FROM event ORDER BY epoch, xid, position")
    assert published == [(4,), (5,), (6,)]


@pytest.mark.parametrize("every", [1, 100], ids=["as a full read", "as a delta"])
def test_a_batch_reads_its_own_rows_and_not_the_whole_table(store: Store, every: int) -> None:
    """PostgreSQL knows little of a stage that was just filled, and would read a million rows for each batch of hundreds."""
    run, ids = begin(store), [f"{number:05}" for number in range(3_000)]
    load(store, run, [stock(name, 1) for name in ids])
    rows = columns([stock(name, 2) for name in ids[::every][:30]])

    with store.transaction() as work:
        batches.write_rows(work, StockLevel.schema, run, 0, rows)
        ((fetched,),) = work.execute(
            b"SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"
            b" WHERE relname = 'inventory'"
        ).fetchall()

    # The versions, the history, the update; a delta's range is given up at twice its size.
    assert fetched <= 6 * 30


def test_a_change_of_one_shop_leaves_the_record_of_another_with_the_same_id(store: Store) -> None:
    """Two projects of one vendor are two integrations, and neither knows the other's IDs."""
    ours, theirs = begin(store), begin(store, integration="outlet")
    for run in (ours, theirs):
        load(store, run, [stock("a", 1)])
    end(store, ours)

    load(store, begin(store), [stock("a", 2)])

    found = query(store, "SELECT integration, version FROM inventory ORDER BY integration")
    assert found == [("commercetools", 2), ("outlet", 1)]
    assert query(store, "SELECT integration FROM inventory_history") == [("commercetools",)]


@pytest.mark.parametrize("same_version", [2, 0], ids=["as compared", "written since by another"])
def test_an_equal_version_is_written_again_only_with_another_content(store: Store, same_version: int) -> None:
    """Where versions are times, the comparison leaves the contents to the write, which counts the equal ones as known."""
    load(store, begin(store), [stock("a", 1), stock("b", 1)])
    run = begin(store, shard="0")
    other = dict(zip(StockLevel.schema.column_names, stock("b", 1), strict=True)) | {"quantity_on_stock": 7}
    rows = columns([stock("a", 1), tuple(other.values())])
    nothing = rows.slice(0, 0)
    compared = ComparedRows(new=nothing, changed=rows, known=NOTHING, stale=NOTHING, same_version=same_version)

    with store.transaction() as work:
        skipped = upsert(work, StockLevel.schema, run, 0, compared, compares_content=True)

    assert (skipped.known.records, skipped.records) == (1, 1)
    assert query(store, "SELECT id FROM inventory_history") == [("b",)]


def test_a_batch_moves_the_watermark_in_its_own_transaction(store: Store) -> None:
    """A run that dies before its end has not to read again what it has loaded."""
    key, window = leases.LeaseKey("commercetools", "inventory"), Window(None, MARCH + timedelta(hours=1))
    with store.transaction() as work:
        run = ledger.start(work, key, SyncRequest(full=True), mode=Mode.FULL)
        leases.take(work, key, run.run_id, timedelta(minutes=1))
        ledger.set_window(work, run.run_id, window, 1)
        landing.add_ranges(work, run.run_id, [Range(range_no=0, axis=Axis.ID)])
        page = Page(range_no=0, page_no=0, records=1, lines=0, path="p", cursor=None)
        landing.add_pages(work, run.run_id, [(page, 2)])
        landing.mark_ranges_read(work, run.run_id, [0])
        batches.add(work, run.run_id, 0, records=1, first_page=(0, 0), last_page=(0, 0))
    with store.transaction() as work:
        run = ledger.get(work, run.run_id)
        (batch,) = batches.of_run(work, run.run_id)
        content = batches.Content(accepted=columns([stock("a", 1)]), rejected=(), repeats=RowCounts())
        batches.load(work, StockLevel.schema, run, batch, content)
        assert watermarks.read(work, key) == window.high

    assert query(store, "SELECT state FROM sync_run") == [("running",)]


def test_a_batch_that_counts_its_warnings_waits_for_none_that_has_rejected_records(store: Store) -> None:
    """The other batch would wait for the counts of this one, and neither would end."""
    run = begin(store)
    warned = Warned(rule="name_is_given", message="give it a name", records=1, examples=("a",))
    with store.another() as second, second.transaction() as theirs, store.transaction() as ours:
        quarantine_repository.add(theirs, run, [rejected("b")])
        quarantine_repository.add(ours, run, [rejected("a")])
        ours.execute(b"SET LOCAL lock_timeout = '3s'")
        ledger.add_counts(ours, run.run_id, RowCounts.of("rejected", 1, 0))
        ledger.add_warnings(ours, run.run_id, [warned])

    with store.transaction() as work:
        assert ledger.get(work, run.run_id).warnings == (warned,)
