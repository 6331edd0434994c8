"""./hub backfill: its exit code says whether every day was read."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from crossdock.cli import backfill as backfill_command
from tests.cli.conftest import Hub

DAYS = ["2026-11-01", "2026-11-02", "2026-11-03"]


class Airflow:
    """Airflow, in which the DAG run of each day has ended as *states* says."""

    url = "http://airflow.example"

    def __init__(self, states: dict[str, str]) -> None:
        self.states = states

    def refuse_paused(self, dag_id: str) -> None:
        assert dag_id == "backfill_acme_orders"

    def post(self, path: str, body: dict[str, Any]) -> dict[str, str]:
        assert path == "/dags/backfill_acme_orders/dagRuns"
        return {"dag_run_id": f"run of {body['partition_key']}"}

    def dag_run(self, dag_id: str, run_id: str) -> dict[str, str]:
        assert dag_id == "backfill_acme_orders"
        return {"state": self.states.get(run_id.removeprefix("run of "), "success")}


class HubApi:
    """The hub, which has a stream with a backfill, and whose ledger has *runs*."""

    runs: tuple[dict[str, str], ...] = ()
    days: Sequence[str] = DAYS

    def __init__(self, airflow: Airflow) -> None:
        self.airflow = airflow

    def get(self, path: str, **_: object) -> SimpleNamespace:
        documents: dict[str, Any] = {
            "/streams": {"streams": [{"id": "acme.orders", "backfill_dag": "backfill_acme_orders"}]},
            "/streams/acme.orders/backfill-days": {"days": self.days},
            "/runs": {"runs": self.runs, "next_cursor": None},
        }
        return SimpleNamespace(document=documents[path])


@pytest.mark.parametrize(
    ("failed", "partial", "code"),
    [([], [], 0), (["2026-11-02"], [], 1), (DAYS, [], 1), ([], ["2026-11-01"], 3), (["2026-11-02"], ["2026-11-01"], 1)],
)
def test_a_backfill_of_which_a_day_failed_fails(
    stackless_hub: Hub, monkeypatch: pytest.MonkeyPatch, failed: list[str], partial: list[str], code: int
) -> None:
    """A script that reads a year again must not go on as if it had the whole year."""
    runs = tuple(run_of(day, "partial" if day in partial else "failed" if day in failed else "done") for day in DAYS)
    monkeypatch.setattr(backfill_command, "airflow_api", lambda **_: Airflow(dict.fromkeys(failed, "failed")))
    monkeypatch.setattr(backfill_command, "HubApi", type("Api", (HubApi,), {"runs": runs}))

    ended = stackless_hub("backfill", "orders", "--from", DAYS[0], "--to", DAYS[-1])

    assert ended.code == code, ended.text
    assert f"{len(DAYS) - len(failed)} of 3 days done" in ended.text


def run_of(day: str, state: str) -> dict[str, str]:
    return {"run_id": f"orders-{day}", "dag_run_id": f"run of {day}", "state": state, "error": f"HTTP 503 on {day}"}


def test_each_day_that_failed_is_named_with_its_reason(stackless_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """It said "2 of 3 days done" of days that had failed, and no reason at all."""
    unread = "2026-11-03"
    runs = (
        run_of(DAYS[0], "failed"),
        run_of(DAYS[1], "done"),
        {**run_of(unread, "failed"), "dag_run_id": "an older run"},
    )
    monkeypatch.setattr(backfill_command, "airflow_api", lambda **_: Airflow({DAYS[0]: "failed", unread: "failed"}))
    monkeypatch.setattr(backfill_command, "HubApi", type("Api", (HubApi,), {"runs": runs}))

    ended = stackless_hub("backfill", "orders", "--from", DAYS[0], "--to", DAYS[-1])

    assert "0 of 3 days done, 1 failed" in ended.text
    assert "1 of 3 days done, 1 failed" in ended.text
    assert "✗ 2026-11-01: HTTP 503 on 2026-11-01" in ended.text
    assert "✗ 2026-11-03: it failed before it began to read" in ended.text
    assert "./hub backfill acme.orders --from 2026-11-01 --to 2026-11-03 --only failed" in ended.text


@pytest.mark.parametrize(("only", "said"), [("missing", "no days are missing"), ("failed", "no days have failed")])
def test_a_backfill_with_nothing_to_do_says_what_it_looked_for(
    stackless_hub: Hub, monkeypatch: pytest.MonkeyPatch, only: str, said: str
) -> None:
    monkeypatch.setattr(backfill_command, "airflow_api", lambda **_: Airflow({}))
    monkeypatch.setattr(backfill_command, "HubApi", type("Api", (HubApi,), {"days": []}))

    ended = stackless_hub("backfill", "orders", "--from", DAYS[0], "--to", DAYS[-1], "--only", only)

    assert ended.code == 0
    assert f"There is nothing to do: {said}" in ended.text
