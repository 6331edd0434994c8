"""A list that cannot be asked for changes is read whole by every run, and each that finds nothing is put on hold."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crossdock.core.errors import HeldForApproval
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Store
from crossdock.sync import ledger
from crossdock.sync.model import Counts, Mode, RunState, SyncRequest
from tests.connectors.declarative.worlds import (
    THINGS,
    a_shop,
    a_sync,
    declared,
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
    "asked",
    [PLAIN, SyncRequest(full=True), SyncRequest(since=datetime(2026, 11, 1, tzinfo=UTC))],
    ids=["plain", "full", "since"],
)
def test_whatever_reads_the_whole_list_is_held_when_it_is_empty(
    asked: SyncRequest, store: Store, tmp_path: Path
) -> None:
    """A plain sync of an empty list was done, and closed the alert of the full one that was on hold."""
    answer: list[Any] = [{"items": THINGS}]
    with a_shop("rest", lambda _: answer[0]) as url:
        sync = a_sync(declared("rest"), url, store, tmp_path)
        assert sync(PLAIN).counts == Counts(read=25, inserted=25)
        answer[0] = EMPTY
        for each in (SyncRequest(full=True), asked):
            with pytest.raises(
                HeldForApproval, match=r"read 0 records of a_list\.records, but the hub has 25"
            ) as raised:
                sync(each)
        assert raised.value.hint == Hint(HintId.ALLOW_SHRINK, "a_list.records")
        assert newest(store).state is RunState.HELD
        # Keys say nothing of the list.
        assert sync(SyncRequest(keys=("thing 1",))).state is RunState.DONE
        assert open_alerts(store) == [("run_held",)]
        answer[0] = {"items": THINGS[:1]}
        assert sync(PLAIN).state is RunState.DONE

    assert open_alerts(store) == []


def test_a_list_of_the_last_days_may_be_short_and_one_that_is_declared_so_may_be_empty(
    store: Store, tmp_path: Path
) -> None:
    """What the hub has says nothing of how long such a list is: only a full sync that is asked for is compared with it."""
    answer: list[Any] = [{"items": THINGS}]
    with a_shop("rest", lambda _: answer[0]) as url:
        sync = a_sync(declared("rest", read={"may_be_empty": True}), url, store, tmp_path)
        sync(PLAIN)
        answer[0] = {"items": THINGS[:1]}
        assert sync(PLAIN).state is RunState.DONE
        answer[0] = EMPTY
        assert sync(PLAIN).state is RunState.DONE
        with pytest.raises(HeldForApproval):
            sync(SyncRequest(full=True))


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
