"""One measurement: a publisher, consumers as processes of their own, an open or a closed loop, percentiles."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty
from typing import Any, NamedTuple

import msgspec

from crossdock.bench.events.logs import Log
from crossdock.client.errors import StackError

#: The most events in one transaction of the publisher: it publishes all that have come due since the last commit, so
#: that it catches up in one commit after a wait.
BATCH = 2_000
_TIMEOUT_S = 120.0
_context = multiprocessing.get_context("fork")


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one measurement. Times in milliseconds: P50, P95, P99."""

    log: str
    #: Events offered a second; 0 for as fast as possible.
    offered: int
    events: int
    readers: int
    published_per_s: float
    #: From the first event published (or the start of the consumers, where all was published before) to the last one
    #: processed.
    processed_per_s: float
    publish_ms: tuple[float, float, float]
    processing_ms: tuple[float, float, float]
    publisher_cpu_s: float
    reader_cpu_s: float


class _Result(NamedTuple):
    """The final report of one consumer."""

    #: When it had committed its last event, CLOCK_MONOTONIC.
    last: float
    waits_ms: list[float]
    cpu_s: float


def measure(
    log: Log, dsn: str, events: int, *, rate: int = 0, readers: int = 1, published_before: bool = False
) -> Figures:
    """
    Send *events* through *log*, published at *rate* (0: each batch when the one before is durable).

    The loop is open: each event has its due time, and waiting in a queue counts. Publish: due → durable. Processing:
    due → its effect is committed. With *published_before* the consumers start when all events are there, as after a
    night without a worker, and have the machine to themselves.
    """
    log.prepare(dsn)
    reports: Any = _context.Queue()
    stop = _context.Event()
    children = [_context.Process(target=_read, args=(log, dsn, n, readers, reports, stop)) for n in range(readers)]
    if not published_before:
        _start(children)
        time.sleep(1.0)  # the consumers connect and claim their partitions
    began, cpu_before = time.monotonic(), time.process_time()
    publish_ms = _publish(log, dsn, events, rate)
    published_s, publisher_cpu_s = time.monotonic() - began, time.process_time() - cpu_before
    if published_before:
        began = time.monotonic()
        _start(children)
    _wait_for(reports, events, children)
    stop.set()
    results = _results(reports, readers)
    for child in children:
        child.join(30)
    return Figures(
        log=log.name,
        offered=rate,
        events=events,
        readers=readers,
        published_per_s=round(events / published_s, 1),
        processed_per_s=round(events / (max(result.last for result in results) - began), 1),
        publish_ms=_percentiles(publish_ms),
        processing_ms=_percentiles([wait for result in results for wait in result.waits_ms]),
        publisher_cpu_s=round(publisher_cpu_s, 2),
        reader_cpu_s=round(sum(result.cpu_s for result in results), 2),
    )


def _start(children: Sequence[Any]) -> None:
    for child in children:
        child.start()


def _publish(log: Log, dsn: str, events: int, rate: int) -> list[float]:
    """Publish all events; return the milliseconds that each took."""
    publish, done, waits_ms = log.publisher(dsn), 0, []
    began = time.monotonic()
    while done < events:
        size = min(BATCH, events - done)
        if rate:
            size = max(1, min(size, int((time.monotonic() - began) * rate) - done))
            dues = [began + (done + n + 1) / rate for n in range(size)]
            if (early_s := dues[-1] - time.monotonic()) > 0:
                time.sleep(early_s)
        else:
            dues = [time.monotonic()] * size
        publish(done, dues)
        now = time.monotonic()
        waits_ms += [(now - due) * 1e3 for due in dues]
        done += size
    return waits_ms


def _read(log: Log, dsn: str, number: int, readers: int, reports: Any, stop: Any) -> None:
    """Run one consumer. It reports its waits in one piece at the end, so that measuring does not disturb it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a stack trace.
    received, last, waits_ms = 0, 0.0, list[float]()
    ended = threading.Event()

    def on_commit(count: int, dues: Sequence[float]) -> None:
        nonlocal received, last
        last = time.monotonic()
        waits_ms.extend((last - due) * 1e3 for due in dues)
        received += count

    thread = threading.Thread(target=log.consume, args=(dsn, number, readers, on_commit, ended))
    thread.start()
    reported = 0
    while not stop.is_set():
        time.sleep(0.02)
        now = received
        if now > reported:
            reports.put(now - reported)
            reported = now
    ended.set()
    thread.join(20)
    reports.put(_Result(last, waits_ms, sum(os.times()[:2])))


def _wait_for(reports: Any, events: int, children: Sequence[Any]) -> None:
    received, until = 0, time.monotonic() + _TIMEOUT_S
    while received < events:
        if time.monotonic() > until or not all(child.is_alive() for child in children):
            raise StackError(f"The consumers stopped after {received:,} of {events:,} events")
        with suppress(Empty):
            received += reports.get(timeout=1)


def _results(reports: Any, readers: int) -> list[_Result]:
    results: list[_Result] = []
    while len(results) < readers:
        report = reports.get(timeout=60)
        if isinstance(report, _Result):
            results.append(report)
    return results


def _percentiles(values: list[float]) -> tuple[float, float, float]:
    ordered = sorted(values)
    p50, p95, p99 = (round(ordered[min(len(ordered) - 1, int(len(ordered) * p))], 2) for p in (0.5, 0.95, 0.99))
    return p50, p95, p99
