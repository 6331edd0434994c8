"""What is measured beside the rounds: a source that takes its time, two workers that share a load, and a much larger one."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median

from crossdock.app.streams import SYNCS
from crossdock.bench.sync import database_figures as measuring
from crossdock.bench.sync.figures import FULL, OURS, Line
from crossdock.bench.sync.processes import Bench, WarmWorker
from crossdock.bench.sync.rounds import Tell, fresh_hub
from crossdock.bench.sync.worker import SYNC_OF

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


#: The shards of each way: one worker has all, or two have a half each.
_ALONE, _SHARED = (None,), ("1/2", "2/2")


def scale_out(bench: Bench, entity: str, tell: Tell, *, latency_ms: float = 100, repeat: int = 3) -> dict[str, float]:
    """How much faster two workers load everything than one does, and whether the hub holds the same afterwards."""
    seconds: dict[int, list[float]] = {len(_ALONE): [], len(_SHARED): []}
    states = set()
    try:
        bench.source.reset()
        bench.source.delay(latency_ms)
        for turn in range(1, repeat + 1):
            for shards in (_ALONE, _SHARED):
                fresh_hub(bench, _SCHEMA)
                seconds[len(shards)].append(_full_load_s(bench, entity, shards))
                states.add(measuring.state(bench.dsn, _SCHEMA, SYNCS[SYNC_OF[entity]].table.name))
                workers = f"{len(shards)} worker{'s' * (len(shards) > 1)}"
                tell(f"{latency_ms:.0f} ms a page, {workers}, {turn} of {repeat}: {seconds[len(shards)][-1]:.2f} s")
    finally:
        bench.source.delay(0)
    one, two = (median(each) for each in seconds.values())
    return {
        "one_worker_s": one,
        "two_workers_s": two,
        "scale_out_gain": one / two,
        "scale_out_other_states": float(len(states) - 1),
    }


def _full_load_s(bench: Bench, entity: str, shards: tuple[str | None, ...]) -> float:
    """From the start of the workers' first task to the end of the last one's last, the workers being warm."""
    with ThreadPoolExecutor(len(shards)) as pool, ExitStack() as living:
        workers = [living.enter_context(WarmWorker(bench, entity, _SCHEMA, shard=shard)) for shard in shards]
        began = time.perf_counter()
        list(pool.map(lambda worker: worker.run(FULL), workers))
        return time.perf_counter() - began


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
