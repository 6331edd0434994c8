"""What is measured beside the rounds: a source that takes its time, and a much larger one."""

from __future__ import annotations

from include.cli.bench.figures import FULL, OURS, Line
from include.cli.bench.processes import Bench, WarmWorker
from include.cli.bench.rounds import Tell, fresh_hub

_SCHEMA = "bench_beside"


def pages_in_flight_gain(bench: Bench, entity: str, tell: Tell, *, latency_ms: float = 100) -> dict[str, float]:
    """How much faster the first task reads than with one page at a time, when each page comes *latency_ms* late."""
    seconds = {}
    try:
        bench.source.reset()
        bench.source.delay(latency_ms)
        for pages in (1, None):
            fresh_hub(bench, _SCHEMA)
            with WarmWorker(bench, entity, _SCHEMA, pages_in_flight=pages) as worker:
                seconds[pages] = worker.run("read").wall_s
            tell(f"{latency_ms:.0f} ms a page, {pages or 'as many as usual'} in flight: read in {seconds[pages]:.2f} s")
    finally:
        bench.source.delay(0)
    return {
        "one_page_at_a_time_s": seconds[1],
        "pages_in_flight_s": seconds[None],
        "pages_in_flight_gain": seconds[1] / seconds[None],
    }


def large_load(bench: Bench, entity: str, rows: int, usual: Line, usual_rows: int, tell: Tell) -> dict[str, float]:
    """A full load of *rows* into empty, beside the *usual* one of *usual_rows*: memory and time a row."""
    fresh_hub(bench, _SCHEMA)
    with WarmWorker(bench, entity, _SCHEMA) as worker:
        sample = worker.run(FULL)
    tell(
        f"{OURS} with {rows:,} rows: wall {sample.wall_s:.1f} s, CPU {sample.cpu_s:.1f} s, peak {sample.peak_pss_mb:.0f} MiB"
    )
    return {
        "large_rows": rows,
        "large_wall_s": sample.wall_s,
        "large_cpu_s": sample.cpu_s,
        "peak_pss_mb_large": sample.peak_pss_mb,
        "pss_growth_ratio": sample.peak_pss_mb / usual.peak_pss_mb,
        "seconds_a_row_ratio": (sample.wall_s / rows) / (usual.wall_s / usual_rows),
    }
