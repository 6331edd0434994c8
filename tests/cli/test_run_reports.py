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

    assert exit_of(run) == code
    assert said in capsys.readouterr().err
