"""The steps of the demo with syncs: each does one thing for real and checks it against the database and the source."""

from __future__ import annotations

from typing import Any

from crossdock.cli.console import Bar
from crossdock.cli.demo.checks import DemoFailed, expect, expect_in_hub
from crossdock.cli.demo.run import DemoRun, SyncRun, look_at, summary
from crossdock.cli.replays import follow_replay
from crossdock.client import dag_runs
from crossdock.client.hub import HubApi
from crossdock.client.sandbox import SandboxControl
from crossdock.commerce.inventory.schema import StockLevel
from crossdock.core.ids import sync_dag
from crossdock.core.paths import path_of
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.sync import records

#: The integration that the demo reads, breaks and repairs. Others may have records with the same ids.
_SYSTEM = "commercetools"
_LOOK_AT_SYSTEM = f"./hub integration show {_SYSTEM}"
#: Stream → the sandbox's name of its records, in the order of the run.
_STREAMS = {
    "commercetools.products": "product-projections",
    "commercetools.orders": "orders",
    "commercetools.inventory": "inventory",
}
INVENTORY = "commercetools.inventory"
_DAG = sync_dag(INVENTORY)


class SyncSteps:
    """The steps with syncs, and what one leaves for the next."""

    def __init__(self, run: DemoRun, store: Store, sandbox: SandboxControl) -> None:
        self._run, self._store, self._sandbox = run, store, sandbox
        self._api = run.stack.api()
        self._hub = HubApi(self._api)
        for dag_id in (*map(sync_dag, _STREAMS), *settings().delivery_dags):
            self._api.wait_for_dag(dag_id)
            self._api.unpause(dag_id)
        self._bad: dict[str, Any] = {}
        self._failed_dag_run = ""
        self._failed_run = ""
        self._requests_before = 0

    def full_syncs(self, bar: Bar) -> str:
        details = []
        for stream, run in self._full(bar).items():
            rows = self._sandbox.checksum(_STREAMS[stream])["rows"]
            expect(run["balanced"], f"{run['counts']} {run['lines']} does not add up", look_at(run))
            expect(
                run["counts"]["read"] == rows,
                f"read {run['counts']['read']} of {rows} records of {stream}",
                look_at(run),
            )
            details.append(f"{stream}: {summary(run)}")
        return "; ".join(details)

    def registry_green(self, bar: Bar) -> str:
        details = []
        for integration in self._hub.get("/integrations", limit=500).document["integrations"]:
            bar.update(f"testing {integration['id']}")
            found = self._hub.post(path_of("integrations", integration["id"], "test"), None).document
            failed = [
                f"{check['name']}: {check['message']}" for check in found["checks"] if check["outcome"] == "failed"
            ]
            look = f"./hub integration test {integration['id']}"
            expect(found["passed"], f"{integration['id']} failed its test: {failed}", look)
            held = [check["name"] for check in found["checks"] if check["outcome"] == "ok"]
            details.append(f"{integration['id']}: {', '.join(held)}")
        expect(bool(details), "no integration is registered")
        return "; ".join(details)

    def bad_row(self, bar: Bar) -> str:
        with self._store.transaction() as work:
            row = records.any_row(work, StockLevel.schema, _SYSTEM)
        if row is None:
            raise DemoFailed("the hub has no stock level to spoil")
        self._bad = {"id": row["id"], "sku": row["sku"]}
        self._sandbox.set_fields("inventory", row["id"], {"quantityOnStock": 5, "availableQuantity": 25})
        run = self._run.sync(INVENTORY, {"keys": [row["sku"]]}, bar)
        expect(run["state"] == "partial", f"the run ended as {run['state']}", look_at(run))
        items = self._hub.pages("/quarantine", "items", stream=INVENTORY)
        item = next(item for item in items if item["record_id"] == row["id"])
        self._bad["item"] = item["item_id"]
        failure = item["failures"][0]
        return (
            f"{row['sku']}: {failure['column']} = {failure['value']} is in quarantine as item {item['item_id']} "
            f"({failure['rule']})"
        )

    def correct_and_replay(self, _: Bar) -> str:
        item_id = self._bad["item"]
        corrected = {"changes": {"availableQuantity": 5}}
        fixed = self._hub.patch(path_of("quarantine", item_id), corrected).document
        look = f"./hub quarantine show {item_id}"
        expect(fixed["passes"], f"the corrected record still fails: {fixed['failures']}", look)
        replay = follow_replay(self._hub, self._hub.post("/quarantine-replays", {"item_ids": [item_id]}).document)
        expect(replay["done"] == 1, f"the replay ended as {replay['state']}, {replay['failed']} failed again", look)
        with self._store.transaction() as work:
            rows = records.by_key(work, StockLevel.schema, _SYSTEM, self._bad["sku"])
        (row,) = [row for row in rows if row["id"] == self._bad["id"]]
        expect(row["quantity_on_stock"] == 5, f"the hub has {row['quantity_on_stock']}", look)  # noqa: PLR2004  as corrected
        return (
            f"item {item_id} is corrected to 5 and replayed by replay {replay['replay_id']}; "
            f"the hub has {row['quantity_on_stock']}"
        )

    def delta(self, bar: Bar) -> str:
        moved = self._sandbox.live(stock_moves=25)["inventory"]
        run = self._run.sync(INVENTORY, {}, bar)
        expect_in_hub(self._store, StockLevel.schema, _SYSTEM, moved, look_at(run))
        return f"{len(moved)} stock levels moved; {summary(run)}"

    def source_down(self, bar: Bar) -> str:
        self._requests_before = len(self._sandbox.requests())
        self._sandbox.break_down("*", [{"status": 503}], repeat=True)
        self._failed_dag_run = dag_runs.trigger(self._api, INVENTORY, {})
        state, (run,) = dag_runs.follow(self._api, INVENTORY, self._failed_dag_run, bar.update)
        expect(state == "failed", f"the DAG run ended as {state}", look_at(run))
        tasks = {task["task_id"]: task["state"] for task in self._api.task_instances(_DAG, self._failed_dag_run)}
        expect(tasks.get("extract") == "failed", f"the tasks ended as {tasks}", look_at(run))
        self._failed_run = run["run_id"]
        return f"extract failed after its retries: {run['error']}"

    def breaker_open(self, _: Bar) -> str:
        breaker = self._health()["breaker"]
        expect(breaker["phase"] != "closed", "the breaker is closed, though the source is down", _LOOK_AT_SYSTEM)
        (run,) = self._hub.get(path_of("integrations", _SYSTEM, "usage"), run=self._failed_run).document["runs"]
        calls = run["calls"]
        expect(calls["avoided"] > 0, f"every doomed call was made: {calls}", f"./hub run show {self._failed_run}")
        received = len(self._sandbox.requests()) - self._requests_before
        # Not fewer: the source received every call that is counted, and other runs may have called it, too.
        expect(
            received >= calls["calls"],
            f"the source received {received} requests, but {calls['calls']} calls are counted",
            f"./hub run show {self._failed_run}",
        )
        opened = next(change for change in breaker["changes"] if change["from_phase"] == "closed")
        return (
            f"opened at {opened['at'][11:19]}, now {breaker['phase']}; run {self._failed_run} made {calls['calls']} calls, "
            f"{calls['errors']} of them errors, and {calls['avoided']} were not made"
        )

    def recovery(self, bar: Bar) -> str:
        self._sandbox.heal()
        moved = self._sandbox.live(stock_moves=5)["inventory"]
        self._api.clear(_DAG, self._failed_dag_run)
        state, (run,) = dag_runs.follow(self._api, INVENTORY, self._failed_dag_run, bar.update)
        expect(state == "success", f"the cleared DAG run ended as {state}", look_at(run))
        expect_in_hub(self._store, StockLevel.schema, _SYSTEM, moved, look_at(run))
        return f"the same DAG run succeeds; {summary(run)}"

    def breaker_closed(self, _: Bar) -> str:
        health = self._health()
        breaker = health["breaker"]
        expect(breaker["phase"] == "closed", f"the breaker is still {breaker['phase']}", _LOOK_AT_SYSTEM)
        newest = breaker["changes"][0]
        expect(
            newest["from_phase"] == "half_open",
            f"it closed from {newest['from_phase']}, not after a probe",
            _LOOK_AT_SYSTEM,
        )
        calls = health["calls"]
        return (
            f"closed at {newest['at'][11:19]}, after probes; in all {calls['calls']} calls of this hour, "
            f"{calls['errors']} errors, {calls['avoided']} avoided, P95 {calls['p95_ms']} ms"
        )

    def nothing_changes(self, bar: Bar) -> str:
        found = self._full(bar)
        for run in found.values():
            expect(
                run["counts"]["inserted"] == run["counts"]["updated"] == 0,
                f"something changed: {summary(run)}",
                look_at(run),
            )
        return "; ".join(f"{stream}: {summary(run)}" for stream, run in found.items())

    def _health(self) -> dict[str, Any]:
        found: dict[str, Any] = self._hub.get(path_of("integrations", _SYSTEM, "health")).document
        return found

    def _full(self, bar: Bar) -> dict[str, SyncRun]:
        return self._run.sync_all([(stream, {"full": True}) for stream in _STREAMS], bar)
