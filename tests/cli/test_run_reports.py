"""How runs look as a table."""

from __future__ import annotations

from typing import Any

import pytest

from crossdock.cli import run_reports
from crossdock.cli.exit_codes import Exit, exit_of


def run_of(stream: str) -> dict[str, Any]:
    counts = {"read": 1, "inserted": 1}
    return {
        "run_id": "inventory-1",
        "stream": stream,
        "mode": "full",
        "state": "done",
        "counts": counts,
        "seconds": 1.0,
    }


def test_runs_of_two_shops_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """The ID of a run names its dataset only."""
    run_reports.show_runs([run_of("shop_eu.inventory"), run_of("shop_us.inventory")])

    shown = capsys.readouterr().out
    assert "shop_eu.inventory" in shown
    assert "shop_us.inventory" in shown


@pytest.mark.parametrize(
    ("keys", "read", "code", "said"),
    [
        (["NOPE"], 0, Exit.FAILED, "✗ The source has no records with these keys: NOPE"),
        (["A", "B"], 0, Exit.FAILED, "✗ The source has no records with these keys: A, B"),
        (["A", "NOPE"], 1, Exit.PARTIAL, "✗ The source has 1 record for 2 keys"),
        (["A"], 3, Exit.DONE, "Done."),
        # As the API masks personal keys.
        (
            ["***", "***"],
            1,
            Exit.PARTIAL,
            "✗ The source has 1 record for 2 keys, so it does not have some of these keys: ***",
        ),
        (["***", "***"], 2, Exit.DONE, "Done."),
        ([], 0, Exit.DONE, "Done."),
    ],
)
def test_keys_that_the_source_does_not_have_are_no_success(
    capsys: pytest.CaptureFixture[str], keys: list[str], read: int, code: Exit, said: str
) -> None:
    """`--key NOPE` ended with 0: a script took it for done."""
    none = {"read": 0}
    counts = {"read": read, "inserted": read, "updated": 0, "rejected": 0, "held": 0}
    run = run_of("acme.inventory") | {"keys": keys, "counts": counts, "lines": none}
    run |= {"drift": None, "warnings": [], "window_high": None, "error": None, "calls": {"calls": 0, "avoided": 0}}

    run_reports.show_run(run)
    shown = capsys.readouterr()

    assert exit_of(run) == code
    assert said in shown.err
    assert ("0 read: the source has no records" in shown.out) == (not keys)


@pytest.mark.parametrize(
    ("mode", "low", "said"),
    [
        ("delta", "2026-11-21T09:00:00Z", "0 read: the source has nothing new in the window\n"),
        ("window", None, "0 read: the source has nothing new in the window\n"),
        ("full", None, "0 read: the source has no records\n"),
        ("delta", None, "0 read: the source has no records\n"),
    ],
)
def test_a_run_that_read_everything_speaks_of_no_window(
    capsys: pytest.CaptureFixture[str], mode: str, low: str | None, said: str
) -> None:
    """An empty list was "nothing new"."""
    counts = {"read": 0, "inserted": 0, "updated": 0, "rejected": 0, "held": 0}
    run = run_of("depot.inventory") | {"mode": mode, "window_low": low, "window_high": "2026-11-21T09:30:00Z"}
    run |= {"keys": [], "counts": counts, "lines": {"read": 0}, "drift": None, "warnings": [], "error": None}

    run_reports.show_run(run | {"calls": {"calls": 0, "avoided": 0}})

    assert said in capsys.readouterr().out


@pytest.mark.parametrize("state", ["failed", "running"])
def test_a_run_that_did_not_end_well_says_nothing_of_what_the_source_has(
    capsys: pytest.CaptureFixture[str], state: str
) -> None:
    """It read nothing because it failed, or has not begun: "nothing new" is the opposite of the truth."""
    counts = {"read": 0, "inserted": 0, "updated": 0, "rejected": 0, "held": 0}
    run = run_of("acme.inventory") | {
        "state": state,
        "mode": "full",
        "keys": [],
        "counts": counts,
        "lines": {"read": 0},
    }
    run |= {"drift": None, "warnings": [], "window_high": None, "error": None, "calls": {"calls": 0, "avoided": 0}}

    run_reports.show_run(run)

    assert "0 read\n" in capsys.readouterr().out


def test_a_task_that_is_tried_again_says_why_and_when() -> None:
    retry = {"task_id": "extract", "map_index": None, "tries": 1, "most_tries": 4, "reason": "HTTP 503"}

    assert (
        run_reports.retried({**retry, "next_try_at": "2026-11-21T09:31:30Z"})
        == "extract failed on try 1 of 4: HTTP 503. Airflow tries it again at 2026-11-21 09:31:30 UTC."
    )
    assert run_reports.retried({**retry, "next_try_at": None}).endswith(
        "HTTP 503. The next try has begun, or waits for its turn."
    )


def test_a_failed_run_names_its_task_what_had_come_and_where_the_logs_are(capsys: pytest.CaptureFixture[str]) -> None:
    """It said "0 read" after it had read 1,500 records, and the next place to look was nowhere."""
    counts = {"read": 0, "inserted": 0, "updated": 0, "rejected": 0, "held": 0}
    task = {"task_id": "validate", "map_index": None, "tries": 4, "reason": "validate failed: the disk is full"}
    run = run_of("acme.inventory") | {"state": "failed", "keys": [], "counts": counts, "lines": {"read": 0}}
    run |= {"drift": None, "warnings": [], "window_high": None, "calls": {"calls": 0, "avoided": 0}}
    run |= {
        "error": "the disk is full",
        "landed": 1500,
        "failed_tasks": [task],
        "dag_id": "sync_acme_inventory",
        "dag_run_id": "manual__1+00:00",
    }

    run_reports.show_run(run, airflow_url="http://127.0.0.1:8080")
    shown = capsys.readouterr()

    assert "✗ validate failed after 4 tries: the disk is full" in shown.err
    assert shown.err.count("the disk is full") == 1
    assert "1,500 more records had been read, and not loaded." in shown.err
    assert "http://127.0.0.1:8080/dags/sync_acme_inventory/runs/manual__1%2B00%3A00" in shown.err


def test_a_failed_full_sync_is_followed_by_a_full_one() -> None:
    counts = {"read": 0, "rejected": 0, "held": 0}
    run = run_of("acme.inventory") | {"state": "failed", "mode": "full", "keys": [], "counts": counts}

    assert run_reports.next_step(run) == "After the cause is fixed: ./hub sync acme.inventory --full"


def test_times_are_written_out() -> None:
    usage = dict.fromkeys(("retries", "errors", "refusals", "throttled", "avoided"), 0)

    assert (
        run_reports.calls({**usage, "calls": 2, "p50_ms": 3.14159, "p95_ms": 4470.2})
        == "2 calls; P50 3.14 ms, P95 4,470 ms"
    )
