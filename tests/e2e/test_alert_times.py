"""From the cause of each kind of alert to its message, on a whole stack under load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from crossdock.bench.alerts.outcome import AlertsOutcome
from crossdock.observability.alerts import Kind
from tests.e2e.conftest import PROJECT

pytestmark = [pytest.mark.e2e, pytest.mark.deep, pytest.mark.timeout(3_600)]

LONGEST_S = 3_600


def test_every_kind_of_alert_that_is_brought_about_reaches_both_receivers(tmp_path: Path) -> None:
    """How fast is the benchmark's to say: here nothing may be missing, and no storm may bring more than it should."""
    words = [sys.executable, "-P", "-m", "crossdock.cli", "bench", "alerts", "--json", "--out", str(tmp_path)]
    ended = subprocess.run(
        words, cwd=PROJECT, env=dict(os.environ), capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    assert ended.stdout, ended.stderr
    goals = {goal["what"]: goal for goal in json.loads(ended.stdout.splitlines()[-1])["goals"]}
    found = msgspec.json.decode((tmp_path / "alerts.json").read_bytes(), type=AlertsOutcome)

    assert {timing.kind for timing in found.kinds} == set(Kind)
    assert [timing.kind for timing in found.kinds if timing.slowest_s is None] == []
    assert [what for what, goal in goals.items() if not goal["reached"] and "messages" in what] == []
