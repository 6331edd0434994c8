"""A list that cannot be asked for changes is read whole by every run, and each has the shrink check of a full read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crossdock.connectors.declarative.streams import declared_stream
from crossdock.core.errors import HeldForApproval
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Store
from crossdock.sync import Systems, ledger
from crossdock.sync.landing import Landing
from crossdock.sync.model import Counts, Mode, RunState, SyncRequest
from tests.connectors.declarative.worlds import (
    AT,
    THINGS,
    a_shop,
    a_sync,
    data_of,
    declared,
    source_of,
    sync_all,
    written,
)
from tests.shop import query

PLAIN = SyncRequest()
EMPTY: dict[str, Any] = {"items": [], "total": 0}
#: The list can be asked for what changed.
ASKS = {"changed_since": {"parameter": "since", "template": "{instant}"}}


def newest(store: Store) -> ledger.Run:
    with store.transaction() as work:
        return ledger.newest(work, limit=1)[0]


def open_alerts(store: Store) -> list[tuple[str]]:
    return query(store, "SELECT kind FROM alert WHERE closed_at IS NULL")


@pytest.mark.parametrize(
    "request_",
    [
        PLAIN,
        SyncRequest(full=True),
        SyncRequest(since=datetime(2026, 11, 1, tzinfo=UTC)),
        SyncRequest(limit=1_000),
    ],
    ids=["plain", "full", "since", "a limit that is not reached"],
)
@pytest.mark.parametrize("left", [0, 12], ids=["empty", "less than half"])
def test_whatever_reads_the_whole_list_is_held_when_it_shrank(
    request_: SyncRequest, left: int, store: Store, tmp_path: Path
) -> None:
    """A plain sync of an empty list was done, and closed the alert of the full one that was on hold."""
    answer: list[Any] = [{"items": THINGS}]
    with a_shop("rest", lambda _: answer[0]) as url:
        sync = a_sync(declared("rest"), url, store, tmp_path)
        assert sync(PLAIN).counts == Counts(read=25, inserted=25)
        answer[0] = {"items": THINGS[:left], "total": left}
        for asked in (SyncRequest(full=True), request_):
            with pytest.raises(
                HeldForApproval, match=f"read {left} records of a_list.records, but the hub has 25"
            ) as raised:
                sync(asked)

    assert raised.value.hint == Hint(HintId.ALLOW_SHRINK, "a_list.records")
    assert newest(store).state is RunState.HELD
    assert newest(store).counts == Counts(read=left, held=left)
    assert open_alerts(store) == [("run_held",)]


def test_a_plain_run_of_such_a_list_is_a_full_read_in_the_ledger(store: Store, tmp_path: Path) -> None:
    with a_shop("rest", lambda _: {"items": THINGS}) as url:
        sync = a_sync(declared("rest"), url, store, tmp_path)
        sync(PLAIN)
        sync(PLAIN)
        plain = newest(store)
        sync(SyncRequest(keys=("thing 1",)))
        named = newest(store)

    assert (plain.mode, plain.window_low, plain.moves_watermark) == (Mode.FULL, None, True)
    assert query(store, "SELECT count(*) FROM watermark WHERE integration = 'a_list'") == [(1,)]
    assert (named.mode, named.moves_watermark) == (Mode.KEYS, False)


@pytest.mark.parametrize(
    "accepts",
    [SyncRequest(full=True, allow_shrink=True), SyncRequest(allow_shrink=True)],
    ids=["full", "plain"],
)
@pytest.mark.parametrize("left", [0, 5])
def test_a_list_that_shrank_is_accepted_once(accepts: SyncRequest, left: int, store: Store, tmp_path: Path) -> None:
    """Nothing is deleted: by what the hub has, each scheduled run after it would be held, and new records never loaded."""
    answer: list[Any] = [{"items": THINGS}]
    new = {"id": 99, "name": "new", "size": 1, "at": AT}
    with a_shop("rest", lambda _: answer[0]) as url:
        sync = a_sync(declared("rest"), url, store, tmp_path)
        sync(PLAIN)
        answer[0] = {"items": THINGS[:left]}
        with pytest.raises(HeldForApproval):
            sync(PLAIN)
        assert sync(accepts).state is RunState.DONE
        assert open_alerts(store) == []
        assert sync(PLAIN).counts.read == left
        answer[0] = {"items": [*THINGS[:left], new]}
        assert sync(PLAIN).counts.inserted == 1
        assert len(data_of(store)) == 26
        # It has grown again, and is compared with that.
        answer[0] = {"items": THINGS}
        sync(PLAIN)
        answer[0] = EMPTY
        with pytest.raises(HeldForApproval):
            sync(PLAIN)


def test_what_came_by_its_key_since_a_list_was_accepted_as_empty_is_expected(store: Store, tmp_path: Path) -> None:
    """A webhook names a record, and it is fetched by its key."""
    answer: list[Any] = [{"items": THINGS}]
    new = [{"id": number, "name": f"new {number}", "size": 1, "at": AT} for number in range(100, 103)]
    with a_shop("rest", lambda _: answer[0]) as url:
        sync = a_sync(declared("rest"), url, store, tmp_path)
        sync(PLAIN)
        answer[0] = EMPTY
        sync(SyncRequest(full=True, allow_shrink=True))
        answer[0] = {"items": new}
        assert sync(SyncRequest(keys=("new 100", "new 101", "new 102"))).counts.inserted == 3
        answer[0] = EMPTY
        with pytest.raises(HeldForApproval, match="but the hub has 3"):
            sync(PLAIN)


def test_a_run_that_reads_a_window_or_keys_may_read_nothing(store: Store, tmp_path: Path) -> None:
    answer: list[Any] = [{"items": THINGS}]
    with a_shop("rest", lambda _: answer[0]) as url:
        sync = a_sync(declared("rest", read=ASKS), url, store, tmp_path)
        sync(PLAIN)
        answer[0] = EMPTY
        reports = [
            sync(PLAIN),
            sync(SyncRequest(since=datetime(2026, 11, 1, tzinfo=UTC))),
            sync(SyncRequest(keys=("thing 1",))),
        ]
        assert newest(store).mode is Mode.KEYS
        with pytest.raises(HeldForApproval):
            sync(SyncRequest(full=True))

    assert [(report.state, report.counts.read) for report in reports] == [(RunState.DONE, 0)] * 3


def test_keys_of_a_list_that_is_read_whole_may_find_nothing(store: Store, tmp_path: Path) -> None:
    answer: list[Any] = [{"items": THINGS}]
    with a_shop("rest", lambda _: answer[0]) as url:
        sync = a_sync(declared("rest"), url, store, tmp_path)
        sync(PLAIN)
        answer[0] = EMPTY

        assert sync(SyncRequest(keys=("thing 1",))).state is RunState.DONE


def test_a_limit_that_was_reached_says_nothing_of_the_rest(store: Store, tmp_path: Path) -> None:
    with a_shop("rest", lambda _: {"items": THINGS}) as url:
        sync = a_sync(declared("rest"), url, store, tmp_path)
        sync(PLAIN)

        assert sync(SyncRequest(limit=3)).counts == Counts(read=3, unchanged=3)


def test_a_new_list_without_records_is_done(store: Store, tmp_path: Path) -> None:
    with a_shop("rest", lambda _: EMPTY) as url:
        sync = a_sync(declared("rest"), url, store, tmp_path)

        assert [sync(PLAIN).state for _ in range(2)] == [RunState.DONE] * 2

    assert query(store, "SELECT kind FROM alert") == []


@pytest.mark.parametrize("compare", ["version", "content"])
def test_the_versions_of_a_record_on_two_pages_are_loaded_one_after_the_other(
    compare: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a list is in an order of its own: two batches at once would publish its versions in any order."""
    monkeypatch.setattr(Store, "another", lambda _: pytest.fail("a second connection"))
    versions = [{"id": 1, "name": "a thing", "size": day, "at": f"2026-11-0{day}T00:00:00Z"} for day in (1, 2, 3)]
    paging = {"kind": "page", "parameter": "page", "first": 1}
    document = declared("rest", read={"paging": paging}, identity={"compare": compare})
    with a_shop("rest", lambda asked: {"items": versions[int(asked["page"]) - 1 :][:1]}) as url:
        _, stream = declared_stream(written(tmp_path, document))
        source = source_of(tmp_path / "a_list.yaml", url)
        systems = Systems(source=source, store=store, landing=Landing(str(tmp_path / "landing")))
        report = sync_all(replace(stream, batch_records=1), systems, PLAIN)

    ((batches,),) = query(store, "SELECT count(*) FROM sync_batch WHERE run_id = %s", report.run_id)
    assert batches > 2
    assert data_of(store) == {"a thing": {"name": "a thing", "size": 3}}
