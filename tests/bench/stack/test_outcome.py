"""The report of what a local stack costs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from crossdock.bench.report import Setup, write
from crossdock.bench.stack.outcome import DeltaRun, Process, StackOutcome, Start, percentile


def outcome(*, up_s: float = 15.0, idle_cores: float = 0.05, walls: tuple[float, ...] = (4.0,)) -> StackOutcome:
    setup = Setup(command="./hub bench stack", measured_at="2026-11-24", machine="2 cores", postgres="18")
    process = Process(name="scheduler", processes=5, idle_cores=idle_cores, pss_mb=500, pss_mb_after=510)
    runs = [
        DeltaRun(wall_s=wall_s, tasks_cpu_s=1, stack_cpu_s=2, tasks={"extract": 0.5}, updated=1) for wall_s in walls
    ]
    return StackOutcome(
        setup=setup,
        airflow="3.3.2",
        idle_s=60,
        records=990,
        starts=(Start(how="first", wall_s=up_s, cpu_s=20),),
        processes=(process, msgspec.structs.replace(process, name="triggerer")),
        imports={"sync_inventory.py": [0.2, 0.4, 0.25]},
        runs=tuple(runs),
    )


def test_the_table_says_where_each_figure_comes_from() -> None:
    text = outcome().page

    assert "| ./hub up, first | 15.00 s | ≤ 60 s | reached |" in text
    assert "| idle for 60 s: busy cores of the whole stack | 0.10 cores | ≤ 0.15 cores | reached |" in text
    assert "| slowest DAG file to import, beyond Airflow | 0.25 s | ≤ 0.3 s | reached |" in text
    assert "| together | 10 | 0.100 | 1000 | 1020 |" in text
    assert "| extract at work, s | 0.50 | 0.50 | 0.50 |" in text


@pytest.mark.parametrize(
    ("missed", "verdict"),
    [
        (outcome(up_s=90), "./hub up, first | 90.00 s | ≤ 60 s | missed by 1.50x"),
        (outcome(idle_cores=0.15), "busy cores of the whole stack | 0.30 cores | ≤ 0.15 cores | missed by 2.00x"),
        (outcome(walls=(4, 6, 7)), "P50 | 6.00 s | ≤ 5 s | missed by 1.20x"),
    ],
)
def test_a_goal_that_is_missed_says_by_how_much(missed: StackOutcome, verdict: str) -> None:
    assert verdict in missed.page


def test_a_run_that_synced_nothing_misses_the_goal() -> None:
    """A delta that finds no change is quick, and proves nothing."""
    found = outcome(walls=(1.0, 1.0))
    empty = msgspec.structs.replace(found.runs[0], updated=0)

    text = msgspec.structs.replace(found, runs=(empty, found.runs[1])).page

    assert "| runs that did not sync exactly their one change | 1 | ≤ 0 | missed by 1 |" in text


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    tables = [block for block in outcome().page.split("\n\n") if block.startswith("|")]

    assert tables
    for table in tables:
        assert len({row.count("|") for row in table.splitlines()}) == 1


def test_the_raw_samples_can_be_read_back_as_they_were(tmp_path: Path) -> None:
    found = outcome()
    _, raw = write(tmp_path, "stack", found.page, found)

    assert msgspec.json.decode(raw.read_bytes(), type=StackOutcome) == found


@pytest.mark.parametrize(("share", "expected"), [(50, 3), (95, 5), (0, 1), (100, 5)])
def test_a_percentile_is_one_of_the_values(share: int, expected: float) -> None:
    assert percentile([5, 1, 4, 2, 3], share) == expected


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile([], 50) is None
