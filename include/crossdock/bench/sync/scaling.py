"""Measurements beside the rounds: a slow source, two workers that share a load, and a much larger load."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median

from crossdock.bench.report import Say
from crossdock.bench.sync import database
from crossdock.bench.sync.figures import FULL, Line
from crossdock.bench.sync.processes import Bench, WarmWorker
from crossdock.bench.sync.rounds import empty_hub
from crossdock.bench.sync.worker import STREAMS

_SCHEMA = "bench_scaling"
#: The shards of each way to share the load: one worker takes all, or two take a half each.
_ALONE, _SHARED = (None,), ("1/2", "2/2")


def pages_in_flight_gain(bench: Bench, entity: str, say: Say, *, latency_ms: float = 100) -> dict[str, float]:
    """Compare the extract task with one page at a time and with the usual number, when each page takes *latency_ms*."""
    seconds = {}
    bench.source.reset()
    with bench.source.delayed(latency_ms):
        for pages in (1, None):
            empty_hub(bench, _SCHEMA)
            with WarmWorker(bench, entity, _SCHEMA, pages_in_flight=pages) as worker:
                seconds[pages] = worker.run("extract").wall_s
            say(f"{latency_ms:.0f} ms a page, {pages or 'as many as usual'} in flight: read in {seconds[pages]:.2f} s")
    return {
        "one_page_at_a_time_s": seconds[1],
        "pages_in_flight_s": seconds[None],
        "pages_in_flight_gain": seconds[1] / seconds[None],
    }


def scale_out(bench: Bench, entity: str, say: Say, *, latency_ms: float = 100, repeat: int = 3) -> dict[str, float]:
    """Compare a full load by one worker with one shared by two, and count the end states that differ."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    states = set()
    bench.source.reset()
    with bench.source.delayed(latency_ms):
        for round_no in range(1, repeat + 1):
            for shards in (_ALONE, _SHARED):
                empty_hub(bench, _SCHEMA)
                took_s = _full_load_s(bench, entity, shards)
                seconds[len(shards)].append(took_s)
                states.add(database.state(bench.server.dsn, _SCHEMA, STREAMS[entity].dataset.table))
                workers = f"{len(shards)} worker{'s' * (len(shards) > 1)}"
                say(f"{latency_ms:.0f} ms a page, {workers}, {round_no} of {repeat}: {took_s:.2f} s")
    one, two = median(seconds[1]), median(seconds[2])
    return {
        "one_worker_s": one,
        "two_workers_s": two,
        "scale_out_gain": one / two,
        "scale_out_other_states": float(len(states) - 1),
    }


def _full_load_s(bench: Bench, entity: str, shards: tuple[str | None, ...]) -> float:
    """Seconds from the start of the first task to the end of the last one, with warm workers."""
    with ThreadPoolExecutor(len(shards)) as pool, ExitStack() as living:
        workers = [living.enter_context(WarmWorker(bench, entity, _SCHEMA, shard=shard)) for shard in shards]
        began = time.perf_counter()
        list(pool.map(lambda worker: worker.run(FULL), workers))
        return time.perf_counter() - began


def large_load(bench: Bench, entity: str, rows: int, usual: Line, usual_rows: int, say: Say) -> dict[str, float]:
    """Compare memory and time a row of a full load of *rows* with the *usual* one of *usual_rows*."""
    empty_hub(bench, _SCHEMA)
    with WarmWorker(bench, entity, _SCHEMA) as worker:
        sample = worker.run(FULL)
    say(f"{rows:,} rows: wall {sample.wall_s:.1f} s, CPU {sample.cpu_s:.1f} s, peak {sample.peak_pss_mb:.0f} MiB")
    return {
        "large_rows": rows,
        "large_wall_s": sample.wall_s,
        "large_cpu_s": sample.cpu_s,
        "peak_pss_mb_large": sample.peak_pss_mb,
        "pss_growth_ratio": sample.peak_pss_mb / usual.peak_pss_mb,
        "seconds_a_row_ratio": (sample.wall_s / rows) / (usual.median("wall_s") / usual_rows),
    }
