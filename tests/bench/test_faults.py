"""The measuring of faults: what counts as recovered, as lost and as doubled, and the page that says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crossdock.bench.faults import check, figures
from crossdock.bench.faults.injections import FAULTS
from crossdock.bench.faults.load import Change, Sent
from crossdock.bench.faults.outcome import Measured, Row
from crossdock.bench.faults.page import BEFORE, NOW, read, with_table, write
from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.model import STOCK_CHANGED, WEBHOOK_RECEIVED, NewEvent
from crossdock.stack import lifecycle
from crossdock.stack.home import project
from tests.shop import query

BEGAN = 1_000.0


def sent(at: float, status: int | None = 202) -> Sent:
    return Sent(f"d{at}", at, at + 0.1, status)


def change(at: float, version: int = 2) -> Change:
    return Change(f"id{at}", "sku", version, at)


class TestSecondsUntilWebhooksAreTakenAgain:
    def test_none_refused_is_no_wait(self) -> None:
        assert figures.webhook_s([sent(1_001), sent(1_002)], BEGAN, now=1_010) == 0

    def test_they_count_from_the_first_taken_after_the_last_refused(self) -> None:
        found = figures.webhook_s([sent(1_001), sent(1_002, 503), sent(1_005, None), sent(1_020)], BEGAN, now=1_030)
        assert found == pytest.approx(20.1)

    def test_still_refused_is_not_recovered(self) -> None:
        assert figures.webhook_s([sent(1_001), sent(1_002, 503)], BEGAN, now=1_030) is None

    def test_refused_a_moment_ago_is_not_recovered(self) -> None:
        assert figures.webhook_s([sent(1_001, 503), sent(1_002)], BEGAN, now=1_003) is None

    def test_nothing_sent_proves_nothing(self) -> None:
        assert figures.webhook_s([sent(990)], BEGAN, now=1_030) is None


class TestSecondsUntilChangesArriveAgain:
    def test_the_longest_pause_is_the_faults(self) -> None:
        arrived = {change(1_001): 1_002.0, change(1_003): 1_040.0, change(1_041): 1_042.0}
        assert figures.record_s(arrived, BEGAN, BEGAN) == 40

    def test_without_a_pause_it_is_the_first(self) -> None:
        assert figures.record_s({change(1_001): 1_002.0, change(1_003): 1_004.0}, BEGAN, BEGAN) == 2

    def test_a_change_before_the_end_of_the_fault_proves_nothing(self) -> None:
        assert figures.record_s({change(1_001): 1_002.0}, BEGAN, since=1_040) is None


class TestSecondsUntilASyncHasEnded:
    def test_a_sync_that_began_before_the_fault_proves_nothing(self) -> None:
        assert figures.sync_s([(990, 1_005)], BEGAN, BEGAN) is None

    def test_the_first_to_end_counts(self) -> None:
        assert figures.sync_s([(1_010, 1_050), (1_012, 1_030)], BEGAN, BEGAN) == 30


class TestLostAndDoubled:
    """The checker must see each of them, or the table says nothing."""

    @pytest.fixture
    def store(self, hub_dsn: str) -> Iterator[Store]:
        with Store(hub_dsn) as store:
            yield store

    def test_an_acknowledged_webhook_that_is_not_stored_is_lost(self, store: Store) -> None:
        with store.transaction() as work:
            event_store.receive(work, received("kept"))

        assert check.lost_webhooks(asking(store), ["kept"]) == 0
        assert check.lost_webhooks(asking(store), ["kept", "gone"]) == 1

    def test_a_change_that_the_hub_has_only_older_is_lost(self, store: Store) -> None:
        changes = [change(1_001), change(1_002)]

        assert check.lost_changes(asking(store), changes) == changes

    def test_a_version_that_was_published_twice_is_doubled(self, store: Store) -> None:
        with store.transaction() as work:
            event_store.append(work, [stock_changed(1), stock_changed(2)])
        assert check.doubled_changes(asking(store), 0) == 0

        with store.transaction() as work:
            event_store.append(work, [stock_changed(2)])

        assert check.doubled_changes(asking(store), 0) == 1


def asking(store: Store) -> check.Ask:
    return lambda statement, *values: query(store, statement, *values)


def received(event_id: str) -> NewEvent:
    return NewEvent(
        source="/webhooks/commercetools",
        type=WEBHOOK_RECEIVED,
        subject="inventory/a",
        time=datetime.now(UTC),
        partition_key="a",
        data="{}",
        event_id=event_id,
    )


def stock_changed(version: int) -> NewEvent:
    return NewEvent(
        source="/commercetools",
        type=STOCK_CHANGED,
        subject="inventory/a",
        time=datetime.now(UTC),
        partition_key="a",
        data=json.dumps({"id": "a", "version": version}),
    )


def row(name: str, **fields: Any) -> Row:
    found = {"webhook_s": 1.0, "record_s": 2.0, "sync_s": 3.0, "whole_s": 4.0, "by_itself": True, **fields}
    return Row(name=name, what=name, **found)


def measured(*rows: Row) -> Measured:
    return Measured(commit="abc", measured_at="2026-11-29", machine="2 cores", patience_s=90, rows=rows)


def test_each_process_of_the_stack_is_killed_and_frozen() -> None:
    """A process that is added to the stack has no row in the table by itself."""
    names = {fault.name for fault in FAULTS}

    assert {f"{name}-{how}" for name in lifecycle.NAMES for how in ("killed", "frozen")} <= names
    assert len(names) == len(FAULTS)


def test_the_page_has_the_rows_that_were_measured() -> None:
    """The table is generated: who measures anew and does not write the page leaves it as it was."""
    folder = project() / "docs" / "benchmarks"
    text = (project() / "docs" / "reliability.md").read_text()

    assert with_table(text, folder) == text


def test_no_row_speaks_of_a_disk_that_its_fault_did_not_fill() -> None:
    """What `doctor` says in each row, whatever the fault, hides what it says about this one."""
    found = read(project() / "docs" / "benchmarks" / NOW)
    assert found is not None

    assert [
        (row.name, word)
        for row in found.rows
        for said in row.said
        for word in said.words
        if word.startswith("disk space of") and "full" not in row.name
    ] == []


def test_a_row_that_needed_a_person_says_so(tmp_path: Path) -> None:
    needed = row("scheduler-killed", sync_s=None, by_itself=False, help=("up",), helped_s=72.0, lost=1, acknowledged=9)
    write(tmp_path / BEFORE, measured(needed))
    write(tmp_path / NOW, measured(row("scheduler-killed", acknowledged=9)))
    text = "<!-- the table of faults: begin --><!-- the table of faults: end -->"

    line = next(line for line in with_table(text, tmp_path).splitlines() if line.startswith("| scheduler-killed"))

    dash = "\N{EN DASH}"
    assert (
        line
        == f"| scheduler-killed | 1 / 2 / {dash} / 4 | **no**: up (72 s) | 1 of 9 / 0 / 0 | 1 / 2 / 3 / 4 | yes | 0 of 9 / 0 / 0 |"
    )


def test_a_row_measured_again_replaces_the_one_of_before() -> None:
    both = measured(row("a"), row("b")).with_row(row("a", lost=3), took_s=1)

    assert [(one.name, one.lost) for one in both.rows] == [("a", 3), ("b", 0)]
