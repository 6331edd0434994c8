"""
A hub that is known to be wrong must be found wrong: each test takes one safeguard out and sees it reported.

Without these, a checker that looks away would pass every crash test.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from crossdock.core.errors import HubError, SystemRefused
from crossdock.db import leases
from crossdock.db.database import Store, Work
from crossdock.sync import extract, mark_failed, validate
from crossdock.sync.compare_versions import Size
from crossdock.sync.model import SyncRequest
from tests.chaos import children
from tests.chaos.conftest import FULL, SMALL, Hub
from tests.chaos.promises import broken
from tests.shop import query

pytestmark = pytest.mark.crash

batches = sys.modules["crossdock.sync.batches"]
KEY = leases.LeaseKey("commercetools", "inventory")


def found(hub: Hub) -> str:
    with Store(hub.dsn) as store:
        return "\n".join(broken(hub.shop, store))


def raise_all_stock(hub: Hub) -> None:
    """Every stock level of the shop in a new version."""
    for row in hub.shop.state.collection("inventory").rows():
        hub.shop.state.change("inventory", row.id, lambda entry: entry.update(custom={"counted": True}))


def extracted(hub: Hub, dag_run_id: str, request: SyncRequest = FULL) -> str:
    with Store(hub.dsn) as store:
        return validate(SMALL, hub.systems(store), extract(SMALL, hub.systems(store), request, dag_run_id=dag_run_id))


def test_a_sound_hub_breaks_no_promise(hub: Hub) -> None:
    """The other half of the proof: what the checker finds below is not always there."""
    hub.sync(FULL, "one")
    raise_all_stock(hub)
    hub.sync(FULL, "two")

    assert found(hub) == ""


def test_a_watermark_that_moves_before_its_rows_is_found(hub: Hub) -> None:
    real = batches.load

    def hasty(work: Work, table: Any, run: Any, batch: Any, content: Any, **options: Any) -> Any:
        with Store(hub.dsn) as another, another.transaction() as early:
            early.execute(
                b"INSERT INTO watermark (integration, dataset, shard, reached, moved_by)"
                b" VALUES ('commercetools', 'inventory', 'all', %s, 'hasty')",
                [run.window_high],
            )
        return real(work, table, run, batch, content, **options)

    def work() -> None:
        batches.load = hasty  # type: ignore[attr-defined]
        hub.sync(FULL, "the run")

    assert children.run(work, crash_at="load.before_commit") == children.KILLED
    assert "watermark: " in found(hub)


def test_a_hub_without_its_version_guard_is_found(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old page that is loaded late overwrites what is newer."""
    rows, compare_versions = sys.modules["crossdock.sync.upsert"], batches.compare_versions
    guarded = rows.statements_of

    def unguarded(*dataset: Any, **options: Any) -> Any:
        unguard = {
            name: getattr(guarded(*dataset, **options), name).replace(b"t.version < s.version", b"true")
            for name in ("keep_history", "overwrite")
        }
        assert all(b"AND true" in statement for statement in unguard.values())
        return msgspec.structs.replace(guarded(*dataset, **options), **unguard)

    def all_changed(work: Work, table: Any, integration: str, content: Any, **options: Any) -> Any:
        compared = compare_versions(work, table, integration, content, **options)
        return replace(compared, changed=content, known=Size(0, 0), stale=Size(0, 0))

    late = extracted(hub, "old")
    _let_go(hub, late)
    raise_all_stock(hub)
    hub.sync(FULL, "new")
    monkeypatch.setattr(rows, "statements_of", unguarded)
    monkeypatch.setattr(batches, "compare_versions", all_changed)

    hub.load(late)

    assert "convergence: " in found(hub)
    assert "events: versions of a key that go back" in found(hub)


def _let_go(hub: Hub, run_id: str) -> None:
    with Store(hub.dsn) as store, store.transaction() as work:
        leases.release(work, KEY, run_id)


def test_a_hub_without_its_fencing_check_is_found(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zombie that wakes in the middle of its load commits under a token that is no longer the highest."""
    flow = sys.modules["crossdock.sync.load"]
    reacquire_lease = flow.reacquire_lease

    def overtaken(systems: Any, run_id: str) -> Any:
        run = reacquire_lease(systems, run_id)
        _let_go(hub, run_id)
        monkeypatch.setattr(flow, "reacquire_lease", reacquire_lease)
        hub.sync(FULL, "new")
        return run

    zombie = extracted(hub, "zombie")
    monkeypatch.setattr(flow, "reacquire_lease", overtaken)
    monkeypatch.setattr(leases, "check", lambda *_: None)

    hub.load(zombie)

    assert "fencing: " in found(hub)


def test_a_hub_whose_lease_is_ignored_is_found(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs at once under one token."""

    def generous(work: Work, key: leases.LeaseKey, run_id: str, life: timedelta) -> int:
        work.execute(
            b"INSERT INTO lease VALUES (%s, %s, %s, %s, 1, clock_timestamp() + %s) ON CONFLICT DO NOTHING",
            [key.integration, key.dataset, key.shard, run_id, life],
        )
        work.execute(b"UPDATE sync_run SET fencing_token = 1 WHERE run_id = %s", [run_id])
        return 1

    monkeypatch.setattr(leases, "take", generous)
    monkeypatch.setattr(leases, "check", lambda *_: None)
    one, other = extracted(hub, "one"), extracted(hub, "other")

    hub.load(one)
    hub.load(other)

    assert "fencing: " in found(hub)


def test_a_hub_that_takes_an_empty_page_for_success_is_found(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["crossdock.sync.extract"], "_hold_when_shrunken", lambda *_: None)
    hub.shop.faults.put("inventory", [{"empty": True}], repeat=True)

    report = hub.sync(FULL, "the run")

    assert report.state.value == "done"
    assert "convergence: " in found(hub)
    assert "watermark: " in found(hub)


def test_a_cursor_without_its_tie_break_is_found(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty-five records of one instant over pages of twenty: `>` alone skips those after the border."""
    client = sys.modules["crossdock.connectors.commercetools.client"]
    breaks_ties: Callable[..., str | None] = client.where

    def skips_ties(*arguments: Any) -> str | None:
        predicate = breaks_ties(*arguments)
        return predicate and re.sub(r"\((lastModifiedAt > \S+) or .*?\)\)", r"\1", predicate)

    one_by_one = replace(hub, overlap=timedelta(0), pages_in_flight=1)
    one_by_one.sync(FULL, "the first")
    at = hub.shop.state.clock.now()
    for row in hub.shop.state.collection("inventory").rows()[:45]:
        hub.shop.state.change("inventory", row.id, lambda entry: entry.update(custom={"counted": True}), at=at)
    monkeypatch.setattr(client, "where", skips_ties)

    one_by_one.sync(SyncRequest(), "the next")

    assert "convergence: " in found(hub)


def test_counting_a_batch_twice_is_found(hub: Hub) -> None:
    """A worker that is killed after its commit and counts the batch again."""
    hub.sync(FULL, "the run")
    with Store(hub.dsn) as store:
        query(store, "UPDATE sync_run SET read = read + 20, unchanged = unchanged + 20 RETURNING 1")

    assert "accounting: " in found(hub)


def test_a_change_without_an_event_and_one_published_twice_are_found(hub: Hub) -> None:
    hub.sync(FULL, "the run")
    with Store(hub.dsn) as store:
        query(store, "DELETE FROM event WHERE position = (SELECT min(position) FROM event) RETURNING 1")
        query(
            store,
            "INSERT INTO event (source, type, subject, time, partition_key, data)"
            " SELECT source, type, subject, time, partition_key, data FROM event LIMIT 1 RETURNING 1",
        )

    assert "events: changes without an event" in found(hub)
    assert "events: changes published twice" in found(hub)


def test_what_a_worker_left_behind_is_found(hub: Hub) -> None:
    """A lease, an open transaction with its stage, and a run without an end."""
    extracted(hub, "the run")
    with Store(hub.dsn) as another, another.transaction() as work:
        work.execute(b"CREATE TEMP TABLE stage_left (id text)")
        report = found(hub)

    for promise in ("leases that are held", "runs that have no end", "transactions that nobody ends"):
        assert promise in report


def test_paging_by_offset_is_found(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of the first page change and go to the end: the others move up, and as many are never read."""
    one_by_one = replace(hub, overlap=timedelta(0), pages_in_flight=1)
    one_by_one.sync(FULL, "the first")
    raise_all_stock(hub)
    read: dict[int, int] = {}

    def by_offset(self: Any, resource: str, part: Any, _after: Any, **_: Any) -> Any:
        offset = read.get(part.range_no, 0)
        query = {"where": client.where(part, None), "sort": client.sort(part), "limit": 20, "offset": offset}
        page = self._call(
            resource, query, lambda response: client.page_of(response, part, None, requested=20, lines_fields=())
        )
        # A range may be one short page, with none after it that would miss a row. A row that is missed may be a bad one.
        if page.records == 20 and not any(number >= 20 for number in read.values()):
            for row in msgspec.json.decode(page.body)["results"][:3]:
                hub.shop.state.change("inventory", row["id"], lambda entry: entry.update(custom={"counted": "again"}))
        read[part.range_no] = offset + page.records
        return page

    client = sys.modules["crossdock.connectors.commercetools.client"]
    monkeypatch.setattr(client.Commercetools, "page", by_offset)

    one_by_one.sync(SyncRequest(), "the next")

    assert "convergence: " in found(hub)


def refused_calls(hub: Hub, dag_run_id: str) -> int:
    """How often the shop saw a call that it refuses with 400."""
    hub.shop.requests.clear()
    hub.shop.faults.put("inventory", [{"status": 400}], repeat=True)
    with pytest.raises(HubError):
        hub.sync(FULL, dag_run_id)
    with Store(hub.dsn) as store:
        mark_failed(SMALL, store, dag_run_id, "refused")
    hub.shop.faults.clear()
    return sum(entry.status == 400 for entry in hub.shop.requests)


def test_a_client_that_repeats_what_was_refused_is_found(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is wrong stays wrong; sent again, it only costs the other side."""
    assert refused_calls(hub, "sound") == 1
    answers = sys.modules["crossdock.http.response"]
    monkeypatch.setattr(answers, "_TRANSIENT", answers._TRANSIENT | {400})

    assert refused_calls(hub, "stubborn") > 1


def report_of(hub: Hub, dag_run_id: str) -> str:
    """All that a failed run reports: the error and its causes, the ledger, the alerts."""
    hub.shop.faults.put("oauth", [{"status": 401}], repeat=True)
    with Store(hub.dsn) as store:
        with pytest.raises(HubError) as failure:
            extract(SMALL, hub.systems(store), FULL, dag_run_id=dag_run_id)
        mark_failed(SMALL, store, dag_run_id, str(failure.value))
        kept = query(store, "SELECT error FROM sync_run UNION ALL SELECT message FROM alert")
    hub.shop.faults.clear()
    return "\n".join([*map(str, kept), *traceback.format_exception(failure.value)])


def test_a_secret_in_an_exception_is_found(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader of a failed run's log must not be able to sign in as the hub."""
    hub.shop.client_secret = "canary-4711"
    assert "canary-4711" not in report_of(hub, "discreet")
    oauth = sys.modules["crossdock.http.oauth"]

    def indiscreet(self: Any, *_: Any) -> None:
        raise SystemRefused("commercetools", 401, f"{self._client_id}:{self._secret}")

    monkeypatch.setattr(oauth.ClientCredentials, "_fetch", indiscreet)

    assert "canary-4711" in report_of(hub, "indiscreet")
