"""Medians, net figures and verdicts of the benchmark."""

from __future__ import annotations

from typing import Any

import pytest

from crossdock.bench.report import Goal
from crossdock.bench.sync.figures import AGAIN, DELTA, FULL, OURS, START, Run, Sample, cost_ratio, lines_of
from crossdock.bench.sync.outcome import goals


def run(loader: str, step: str, wall_s: float, cpu_s: float = 1.0, postgres_s: float = 0.0, **more: Any) -> Run:
    sample = Sample(wall_s=wall_s, client_cpu_s=cpu_s, postgres_cpu_s=postgres_s, **more)
    return Run(loader=loader, round_no=1, step=step, sample=sample)


def goal(runs: list[Run], what: str, extra: dict[str, float] | None = None) -> Goal:
    (found,) = [each for each in goals(lines_of(runs), extra or {}) if each.what == what]
    return found


def test_the_start_of_a_program_is_subtracted_and_ours_has_none() -> None:
    """Our worker is warm before a step begins; subtracting its start would make it look faster than it is."""
    runs = [
        run("peer", START, 2.0, 1.5),
        run("peer", FULL, 5.0, 4.0, 0.5),
        run(OURS, START, 3.0, 3.0),
        run(OURS, FULL, 1.0, 0.75, 0.25),
    ]

    peer, ours = lines_of(runs)

    assert (peer.net_wall_s, peer.net_cpu_s) == (3.0, 3.0)
    assert (ours.net_wall_s, ours.net_cpu_s) == (1.0, 1.0)


def test_a_line_has_the_median_of_its_rounds_and_the_largest_memory() -> None:
    """One disturbed round must not speak for all; memory that was needed once was needed."""
    runs = [run(OURS, FULL, wall_s, peak_pss_mb=size) for wall_s, size in ((1.0, 300), (9.0, 340), (2.0, 310))]

    (line,) = lines_of(runs)

    assert (line.median("wall_s"), len(line.samples), line.peak_pss_mb) == (2.0, 3, 340)


def test_the_floors_own_clock_is_preferred() -> None:
    """A difference of two runs cannot measure ten milliseconds."""
    runs = [
        run("floor", START, 0.20, 0.15, 0.01),
        run("floor", DELTA, 0.21, 0.16, 0.03, counts={"wall_s": 0.015, "cpu_s": 0.004}),
    ]

    (line,) = lines_of(runs)

    assert line.net_wall_s == 0.015
    assert line.net_cpu_s == pytest.approx(0.024)


@pytest.mark.parametrize(
    ("figure", "limit", "at_least", "verdict"),
    [
        (2.4, 2.5, False, "reached"),
        (5.0, 2.5, False, "missed by 2.00x"),
        (6.0, 6, True, "reached"),
        (3.0, 6, True, "missed by 2.00x"),
        (None, 6, True, "not measured, or too short to compare"),
    ],
)
def test_a_verdict_says_by_how_much_a_goal_was_missed(
    figure: float | None, limit: float, at_least: bool, verdict: str
) -> None:
    assert Goal(what="x", figure=figure, limit=limit, at_least=at_least).verdict == verdict


def test_cpu_is_compared_with_the_floor_and_wall_time_with_the_peers() -> None:
    runs = [
        *(run(OURS, FULL, 2.0, 1.0, 1.0), run(OURS, AGAIN, 1.0, wrote=False), run(OURS, DELTA, 0.1)),
        *(run("floor-pipe2", START, 0.5, 0.5), run("floor-pipe2", FULL, 1.0, 1.0, 0.5)),
        *(run("dlt-adbc-arrow", START, 1.0), run("dlt-adbc-arrow", FULL, 7.0)),
    ]

    assert goal(runs, "full load into empty: CPU of floor-pipe2").figure == 2.0
    assert goal(runs, "full load: faster than dlt-adbc-arrow").figure == 3.0
    assert goal(runs, "full load: faster than dlt-rest_api-default").figure is None


def test_a_load_that_does_not_add_up_wins_nothing() -> None:
    """The fastest loader is the one that loses rows."""
    runs = [run(OURS, FULL, 1.0, problem="holds 9 where the source has 10"), run("dlt-adbc-arrow", FULL, 7.0)]

    assert goal(runs, "full load: faster than dlt-adbc-arrow").figure is None


def test_a_step_as_short_as_the_noise_of_its_start_has_no_ratio() -> None:
    """A peer that adds 20 ms to a start of 1.3 s would otherwise be fifty times faster or slower by chance."""
    runs = [run(OURS, DELTA, 0.1), run("pandas-to_sql", START, 1.30), run("pandas-to_sql", DELTA, 1.32)]

    assert goal(runs, "1 % changed: faster than pandas-to_sql").figure is None


def test_one_round_that_wrote_although_nothing_changed_misses_the_goal() -> None:
    runs = [run(OURS, AGAIN, 1.0, wrote=False), run(OURS, AGAIN, 1.0, wrote=True), run(OURS, AGAIN, 1.0, wrote=False)]

    found = goal(runs, "nothing changed: rounds that wrote to entity, history or event tables")

    assert found.reached is False


def test_growth_is_counted_from_the_idle_state() -> None:
    runs = [run(OURS, FULL, 1.0, peak_pss_mb=330.0)]

    assert goal(runs, "growth of PSS over the idle state", {"idle_pss_mb": 240.0}).figure == 90.0


def test_the_cost_ratio_uses_the_cheapest_round_of_each() -> None:
    runs = [
        *(run(OURS, FULL, 1.0, 3.0, 1.0), run(OURS, FULL, 1.0, 9.0, 1.0)),
        run("floor", FULL, 1.0, 9.9, 0.5, counts={"cpu_s": 1.5}),
        run("floor", FULL, 1.0, 9.9, 1.5, counts={"cpu_s": 1.5}),
    ]

    assert cost_ratio(runs, FULL) == 2.0


def test_a_cost_ratio_needs_both_sides() -> None:
    with pytest.raises(ValueError, match="did not both run"):
        cost_ratio([run(OURS, FULL, 1.0)], FULL)


def test_there_is_no_cost_ratio_of_a_load_that_does_not_add_up() -> None:
    with pytest.raises(ValueError, match="holds 9"):
        cost_ratio([run(OURS, FULL, 1.0, problem="holds 9 where the source has 10")], FULL)
