"""The report of the sync's benchmark."""

from __future__ import annotations

from pathlib import Path

import msgspec

from crossdock.bench.report import Setup, write
from crossdock.bench.sync.figures import FULL, OURS, START, Run, Sample
from crossdock.bench.sync.outcome import Outcome


def outcome() -> Outcome:
    setup = Setup(command="./hub bench sync", measured_at="2026-11-24", machine="2 cores", postgres="18")

    def run(name: str, step: str, wall_s: float) -> Run:
        sample = Sample(wall_s=wall_s, client_cpu_s=wall_s, postgres_cpu_s=0.5, tasks={"load": 0.25})
        return Run(loader=name, round_no=1, step=step, sample=sample)

    runs = (run(OURS, START, 3), run(OURS, FULL, 2), run("floor-pipe2", START, 1), run("floor-pipe2", FULL, 2))
    return Outcome(
        setup=setup,
        entity="inventory",
        rows=1_000,
        repeat=1,
        ids="random",
        left_out=("Left out: the moon.",),
        runs=runs,
        extra={"pages_in_flight_gain": 3.0},
    )


def test_the_table_says_what_was_measured_where_and_what_was_left_out() -> None:
    """Figures without their machine and command cannot be checked by anybody."""
    text = outcome().page

    assert "2 cores" in text
    assert "```\n./hub bench sync\n```" in text
    assert "Left out: the moon." in text
    assert "| full load into empty: CPU of floor-pipe2 | 2.50x | ≤ 2.5x | reached |" in text
    assert "| 100 ms a page: faster than one page at a time | 3.00x | ≥ 4x | missed by 1.33x |" in text
    assert "Ours by task: load 0.25 s." in text


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    """Else a viewer shifts a figure under another's name."""
    tables = [block for block in outcome().page.split("\n\n") if block.startswith("|")]

    assert tables
    for table in tables:
        assert len({row.count("|") for row in table.splitlines()}) == 1


def test_the_raw_samples_can_be_read_back_as_they_were(tmp_path: Path) -> None:
    """A later reader must be able to compute other figures from them."""
    written = write(tmp_path, "sync-inventory", outcome().page, outcome())

    raw = next(file for file in written if file.suffix == ".json")
    assert msgspec.json.decode(raw.read_bytes(), type=Outcome) == outcome()
