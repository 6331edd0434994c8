"""./hub backfill: its exit code says whether every day was read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from crossdock.cli import backfill as backfill_command
from tests.cli.conftest import Hub

DAYS = ["2026-11-01", "2026-11-02", "2026-11-03"]


class Airflow:
    """Airflow, in which the DAG run of each day has ended as *states* says."""

    def __init__(self, states: dict[str, str]) -> None:
        self.states = states

    def refuse_paused(self, dag_id: str) -> None:
        assert dag_id == "backfill_acme_orders"

    def post(self, path: str, body: dict[str, Any]) -> dict[str, str]:
        assert path == "/dags/backfill_acme_orders/dagRuns"
        return {"dag_run_id": body["partition_key"]}

    def dag_run(self, dag_id: str, run_id: str) -> dict[str, str]:
        assert dag_id == "backfill_acme_orders"
        return {"state": self.states.get(run_id, "success")}


class HubApi:
    """The hub, which has a stream with a backfill, and whose ledger has *runs*."""

    runs: tuple[dict[str, str], ...] = ()

    def __init__(self, airflow: Airflow) -> None:
        self.airflow = airflow

    def get(self, path: str, **_: object) -> SimpleNamespace:
        documents: dict[str, Any] = {
            "/streams": {"streams": [{"id": "acme.orders", "backfill_dag": "backfill_acme_orders"}]},
            "/streams/acme.orders/backfill-days": {"days": DAYS},
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
    runs = tuple({"backfill_day": day, "state": "partial" if day in partial else "done"} for day in DAYS)
    monkeypatch.setattr(backfill_command, "airflow_api", lambda **_: Airflow(dict.fromkeys(failed, "failed")))
    monkeypatch.setattr(backfill_command, "HubApi", type("Api", (HubApi,), {"runs": runs}))

    ended = stackless_hub("backfill", "orders", "--from", DAYS[0], "--to", DAYS[-1])

    assert ended.code == code, ended.text
    assert f"{len(DAYS) - len(failed)} of 3 days are done" in ended.text
