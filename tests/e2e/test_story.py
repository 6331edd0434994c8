"""The main job on a real Airflow with its scheduler, through the commands and the REST API that users have."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import requests

from tests.e2e.conftest import Hub

pytestmark = pytest.mark.e2e


#: What nobody changes between the two full syncs of the demo.
AT_REST = {"commercetools.products", "commercetools.orders"}


def test_the_demo_passes_every_step(hub: Hub) -> None:
    """
    Syncs and tests of integrations that succeed, a bad row corrected, a failed task whose breaker opens, its recovery,
    and a second run that changes nothing; customers from two sources, and two shops; payments at two gateways; five orders; mails over two mailers.
    At its end no page shows an error.
    """
    story = hub.json("demo")

    assert story["ok"], story
    assert len(story["steps"]) == 32
    assert story["steps"][-1]["name"] == "Every page in Airflow's UI opens"
    first = {sync["stream"]: sync for sync in reversed(story["syncs"])}
    assert {stream: sync["read"] for stream, sync in first.items()} == {
        "commercetools.products": 300,
        "commercetools.orders": 200,
        "commercetools.inventory": 1_000,
        "commercetools.customers": 100,
        "demo_crm.customers": 250,
        "demo_outlet.inventory": 120,
    }
    for sync in first.values():
        assert sync["inserted"] + sync["rejected"] == sync["read"]
    again = [sync for sync in story["syncs"] if sync["pass"] == 2 and sync["stream"] in AT_REST]
    assert len(again) == len(AT_REST)
    for sync in again:
        assert (sync["inserted"], sync["updated"]) == (0, 0)
    for sync in story["syncs"]:
        outcomes = ("inserted", "updated", "unchanged", "stale", "rejected", "held")
        assert sync["read"] == sum(sync[outcome] for outcome in outcomes)


def test_exit_codes_tell_a_script_how_a_sync_ended(hub: Hub) -> None:
    """0 done, 1 failed, 2 wrong use, 3 partial, 4 a person is needed."""
    hub("sync", "inventory", "--full", exit_code=3)
    hub("sandbox", "move", "3")
    hub("sync", "inventory", exit_code=0)
    hub("sync", "inventory", "--full", "--since", "2026-01-01T00:00:00Z", exit_code=2)
    hub("sync", "inventory", "--since", "yesterday", exit_code=2)
    hub("sync", "stocks", exit_code=2)
    hub("run", "show", "nothing", exit_code=1)
    hub("sandbox", "break", '{"empty": true}', "--route", "inventory")
    held = hub("sync", "inventory", "--full", exit_code=4)
    hub("sandbox", "break", '{"status": 401}', "--route", "oauth")
    hub("sandbox", "heal")

    assert "--allow-shrink" in held


def test_a_refused_request_is_not_tried_again(hub: Hub) -> None:
    """A retry does not cure a 401: the task fails immediately, on its first try."""
    hub("sandbox", "break", '{"status": 403}', "--route", "inventory")
    failed = hub.json("sync", "inventory", exit_code=1)
    hub("sandbox", "heal")

    assert failed["state"] == "failed"
    assert "HTTP 403" in failed["error"]
    api = Api(hub)
    tasks = {task["task_id"]: task for task in api.tasks(failed["dag_run_id"])}
    assert tasks["extract"]["try_number"] == 1
    assert tasks["load"]["state"] == "upstream_failed"


def test_rest_triggers_with_a_checked_form(hub: Hub) -> None:
    """A wrong conf is refused by Airflow itself, before anything runs."""
    api = Api(hub)

    refused = api.post("/dags/sync_commercetools_inventory/dagRuns", {"logical_date": None, "conf": {"limit": -1}})
    accepted = api.post(
        "/dags/sync_commercetools_inventory/dagRuns", {"logical_date": None, "conf": {"full": True, "limit": 10}}
    )

    assert refused.status_code == 400
    assert accepted.status_code == 200
    assert api.wait(accepted.json()["dag_run_id"]) == "success"
    newest = hub.json("runs", "--limit", "1")["runs"][0]
    assert (newest["mode"], newest["read"]) == ("full", 10)


def test_no_secret_is_anywhere(hub: Hub) -> None:
    """
    The passwords, tokens and keys of this stack, looked for wherever something is written or shown.

    Task logs and server logs, what landed, every table of the hub and of Airflow (XCom and connections included, which
    are ciphertext), and the answers of the API, good and bad.
    """
    import json  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    home = Path(hub.environment["HUB_HOME"])
    kept = json.loads((home / "secrets.json").read_text())
    secrets = [value for value in kept.values() if len(value) > 8]
    shown = {
        path: path.read_bytes() for folder in ("logs", "airflow/logs", "landing") for path in _files(home / folder)
    }
    api = Api(hub)
    answers = [api.hub("GET", path) for path in HUB_PATHS]
    answers += [api.hub("POST", path, {"credentials": secrets[0]}) for path in ("/integrations", "/nowhere")]
    answers += [api.hub("GET", "/runs", headers={"Authorization": f"Bearer {secrets[0]}"})]
    shown |= {answer.request.path_url: answer.content + repr(answer.headers).encode() for answer in answers}
    tables = {name: rows for dsn in _dsns(hub, kept) for name, rows in _tables(dsn)}

    assert len(secrets) >= 8
    assert len(shown) > 20
    assert {200, 400, 401, 404} <= {answer.status_code for answer in answers}
    # An empty sink proves nothing.
    assert all(tables[name] for name in ("public.xcom", "public.connection", "hub.shared_token", "hub.call_count"))
    found = [(name, secret[:2]) for name, text in shown.items() for secret in secrets if secret.encode() in text]
    found += [(name, secret[:2]) for name, text in tables.items() for secret in secrets if secret in text]
    assert found == []
    assert not any(b"Bearer ey" in text for text in shown.values())


HUB_PATHS = (
    "/health",
    "/me",
    "/kinds",
    "/runs?limit=500",
    "/integrations?limit=500",
    "/integrations/commercetools",
    "/integrations/commercetools/health",
    "/integrations/commercetools/usage",
    "/integrations/nowhere",
)


def _files(folder: Any) -> Iterator[Any]:
    return (path for path in folder.rglob("*") if path.is_file())


def _dsns(hub: Hub, secrets: dict[str, str]) -> list[str]:
    """Of Airflow's metadata and of the hub's database, each as its owner."""
    port = {name: hub.environment[f"HUB_PORT_{name}"] for name in ("METADATA", "DB")}
    return [
        f"postgresql://airflow:{secrets['metadata_password']}@127.0.0.1:{port['METADATA']}/airflow",
        f"postgresql://hub:{secrets['hub_password']}@127.0.0.1:{port['DB']}/hub",
    ]


def _tables(dsn: str) -> Iterator[tuple[str, str]]:
    """Every table by its name, with all of its rows as text; bytes as the text that they may hold. A session's own are not seen."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET bytea_output = 'escape'")
        names = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND schemaname NOT LIKE 'pg_temp_%'"
        ).fetchall()
        for schema, table in names:
            rows = connection.execute(f'SELECT t::text FROM "{schema}"."{table}" t'.encode()).fetchall()
            yield f"{schema}.{table}", "\n".join(row for (row,) in rows)


def test_doctor_finds_nothing_wrong_in_a_healthy_stack(hub: Hub) -> None:
    report = hub.json("doctor")

    assert report["ok"], [check for check in report["checks"] if not check["ok"]]


class Api:
    """Airflow's REST API as the admin, over HTTP."""

    def __init__(self, hub: Hub) -> None:
        shown = hub("status", "--password")
        parts = {process["name"]: process for process in hub.json("status")["processes"]}
        self.url, self.password = parts["api-server"]["url"], shown.rsplit("password", 1)[1].split()[0]
        answer = requests.post(
            f"{self.url}/auth/token", json={"username": "admin", "password": self.password}, timeout=120
        )
        self.headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def post(self, path: str, body: dict[str, Any]) -> requests.Response:
        return requests.post(f"{self.url}/api/v2{path}", json=body, headers=self.headers, timeout=120)

    def get(self, path: str) -> Any:
        return requests.get(f"{self.url}/api/v2{path}", headers=self.headers, timeout=120).json()

    def hub(self, method: str, path: str, body: Any = None, *, headers: Any = None) -> requests.Response:
        return requests.request(
            method, f"{self.url}/hub/v1{path}", json=body, headers=headers or self.headers, timeout=240
        )

    def tasks(self, dag_run_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(
            f"/dags/sync_commercetools_inventory/dagRuns/{dag_run_id}/taskInstances"
        )["task_instances"]
        return found

    def wait(self, dag_run_id: str, *, timeout_s: float = 900) -> str:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            state = str(self.get(f"/dags/sync_commercetools_inventory/dagRuns/{dag_run_id}")["state"])
            if state in ("success", "failed"):
                return state
            time.sleep(0.3)
        raise AssertionError(f"{dag_run_id} did not end in {timeout_s} s")


def test_a_backfill_reads_the_days_that_are_missing_and_then_none(hub: Hub) -> None:
    """Through Airflow's partitioned runs; a second call starts nothing."""
    days = ("--from", "2026-02-03", "--to", "2026-02-05")
    hub("backfill", "stocks", *days, exit_code=2)
    # 0, or 3 if one of the products of these days is in quarantine.
    forced = hub.json("backfill", "products", *days, "--only", "all", exit_code=None)
    again = hub.json("backfill", "products", *days)

    assert forced["started"] == 3
    assert forced["states"] == {"success": 3}
    assert again["started"] == 0
    windows = [run["window"] for run in hub.json("runs", "--stream", "products")["runs"] if run["mode"] == "window"]
    assert {window["low"][:10] for window in windows} >= {"2026-02-03", "2026-02-04", "2026-02-05"}


def test_airflow_s_own_backfill_runs_a_day_under_its_key(hub: Hub) -> None:
    """What the UI's button and `airflow backfill create` do."""
    api = Api(hub)
    request = {
        "dag_id": "backfill_commercetools_orders",
        "from_date": "2026-02-10T00:00:00Z",
        "to_date": "2026-02-11T04:00:00Z",
        "reprocess_behavior": "completed",
        "max_active_runs": 2,
        "dag_run_conf": {},
    }

    answer = api.post("/backfills", request)

    assert answer.status_code == 200, answer.text
    runs = eventually(
        lambda: ended(api.get("/dags/backfill_commercetools_orders/dagRuns?run_type=backfill")["dag_runs"])
    )
    assert {run["state"] for run in runs} == {"success"}
    assert all(run["partition_key"].startswith("2026-02-") for run in runs)


def ended(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return runs if runs and all(run["state"] in ("success", "failed") for run in runs) else []


def eventually(look: Any, *, timeout_s: float = 900) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.5)
    return found


@pytest.mark.deep
def test_three_senders_libraries_deliver_to_the_running_hub(hub: Hub) -> None:
    """Each signature as its library makes it, a wrong one, a ping, and fifty copies: `./hub demo webhooks`."""
    story = hub.json("demo", "webhooks", exit_code=None)
    last = story["steps"][-1]
    if "needs a package index" in last["detail"]:
        pytest.skip(last["detail"])

    assert story["ok"], last
    assert len(story["steps"]) == 8


@pytest.mark.deep
def test_the_demo_passes_again_on_the_same_stack(hub: Hub) -> None:
    """After a restart the retailer still knows what changed: a shop that forgets looks like a fault of ours."""
    hub("down")
    hub("up")

    assert hub.json("demo")["ok"]
