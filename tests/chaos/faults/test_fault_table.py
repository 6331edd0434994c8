"""Every fault of the table on a real stack under load: it recovers by itself, loses nothing and doubles nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from crossdock.bench.faults.injections import FAULTS, Fault
from crossdock.bench.faults.outcome import Measured
from crossdock.bench.faults.page import NOW, write, write_page
from crossdock.bench.faults.run import nothing_measured, row_of, sentence
from crossdock.bench.faults.stage import Stage, running_stage
from crossdock.stack.home import project

pytestmark = [pytest.mark.e2e, pytest.mark.deep]

PATIENCE_S = 150.0


@dataclass
class Table:
    """The stack of all faults, and the rows so far."""

    stage: Stage
    measured: Measured


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    """One stack for all faults; at the end the page has their rows."""
    with running_stage(lambda line: sys.stderr.write(f"{line}\n")) as stage:
        made = Table(stage, nothing_measured(PATIENCE_S))
        yield made
    if len(made.measured.rows) == len(FAULTS):
        folder = project() / "docs" / "benchmarks"
        write(folder / NOW, made.measured)
        write_page(project() / "docs" / "reliability.md", folder)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_after_a_fault_all_works_again_by_itself_and_nothing_is_lost(
    table: Table, fault: Fault, record_property: Callable[[str, object], None]
) -> None:
    row = row_of(fault, table.stage, PATIENCE_S)
    table.measured = table.measured.with_row(row, row.helped_s or row.whole_s or PATIENCE_S)
    record_property("row", sentence(row))
    if row.skipped:
        pytest.skip(row.skipped)

    assert row.by_itself is not False, sentence(row)
    assert (row.lost, row.doubled, row.dead_letters) == (0, 0, 0), sentence(row)
