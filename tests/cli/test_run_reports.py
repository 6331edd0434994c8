"""How runs look as a table."""

from __future__ import annotations

from typing import Any

import pytest

from crossdock.cli import run_reports


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
