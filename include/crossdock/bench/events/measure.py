"""One measurement: publishers and readers as processes of their own, an open or a closed loop, percentiles."""

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

#: Events in one transaction of a publisher, at most: what has come due since the last one, so that a publisher that had
#: to wait for its turn catches up in one commit.
BATCH = 2_000
_PATIENCE_S = 120.0
_context = multiprocessing.get_context("fork")


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a measurement found. Times in milliseconds; P50, P95, P99."""

    log: str
    #: Events a second that were asked for; 0 for as fast as it goes.
    offered: int
    events: int
    readers: int
    published_per_s: float
    #: First event published, or readers started where all was published before, to last event processed.
    processed_per_s: float
    publish_ms: tuple[float, float, float]
    processing_ms: tuple[float, float, float]
    publisher_cpu_s: float
    reader_cpu_s: float


def measure(
    log: Log, dsn: str, events: int, *, rate: int = 0, readers: int = 1, published_before: bool = False
) -> Figures:
    """
    *events* through *log*, published at *rate* (0: each batch when the one before is durable).

    Open loop: each event has its due time, and waiting in a queue counts. Publish: due → durable.
    Processing: due → its effect is committed. *published_before*: the readers begin when all of them
    are there, as after a night without a worker, and have the machine to themselves.
    """
    log.prepare(dsn)
    told: Any = _context.Queue()
    stop = _context.Event()
    children = [
        _context.Process(target=_read, args=(log, dsn, number, readers, told, stop)) for number in range(readers)
    ]
    if not published_before:
        _start(children)
    began, cpu = time.monotonic(), time.process_time()
    publish_ms = _publish(log, dsn, events, rate)
    published_s, cpu = time.monotonic() - began, time.process_time() - cpu
    if published_before:
        began = time.monotonic()
        _start(children, patience_s=0.0)
    _wait_for(told, events, children)
    stop.set()
    words = _last_words(told, readers)
    for child in children:
        child.join(30)
    return Figures(
        log=log.name,
        offered=rate,
        events=events,
        readers=readers,
        published_per_s=round(events / published_s, 1),
        processed_per_s=round(events / (max(word.last for word in words) - began), 1),
        publish_ms=_percentiles(publish_ms),
        processing_ms=_percentiles([wait for word in words for wait in word.waits]),
        publisher_cpu_s=round(cpu, 2),
        reader_cpu_s=round(sum(word.cpu_s for word in words), 2),
    )


def _start(children: Sequence[Any], *, patience_s: float = 1.0) -> None:
    for child in children:
        child.start()
    time.sleep(patience_s)  # The readers connect and claim.


def _publish(log: Log, dsn: str, events: int, rate: int) -> list[float]:
    """The milliseconds that each event took."""
    publish, done, waits = log.publisher(dsn), 0, []
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
        waits += [(now - due) * 1e3 for due in dues]
        done += size
    return waits


class _Words(NamedTuple):
    """What a reader says at its end."""

    #: When it had committed its last event, CLOCK_MONOTONIC.
    last: float
    waits: list[float]
    cpu_s: float


def _read(log: Log, dsn: str, number: int, readers: int, told: Any, stop: Any) -> None:
    """A reader's process: its waits go home in one piece at the end, so that measuring does not disturb."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a stack trace.
    got, last, waits = 0, 0.0, list[float]()
    ended = threading.Event()

    def tell(many: int, dues: Sequence[float]) -> None:
        nonlocal got, last
        last = time.monotonic()
        waits.extend((last - due) * 1e3 for due in dues)
        got += many

    thread = threading.Thread(target=log.consume, args=(dsn, number, readers, tell, ended))
    thread.start()
    sent = 0
    while not stop.is_set():
        time.sleep(0.02)
        now = got
        if now > sent:
            told.put(now - sent)
            sent = now
    ended.set()
    thread.join(20)
    told.put(_Words(last, waits, sum(os.times()[:2])))


def _wait_for(told: Any, events: int, children: Sequence[Any]) -> None:
    got, until = 0, time.monotonic() + _PATIENCE_S
    while got < events:
        if time.monotonic() > until or not all(child.is_alive() for child in children):
            raise StackError(f"The readers have {got:,} of {events:,} events and go no further")
        with suppress(Empty):
            got += told.get(timeout=1)


def _last_words(told: Any, readers: int) -> list[_Words]:
    words: list[_Words] = []
    while len(words) < readers:
        word = told.get(timeout=60)
        if isinstance(word, _Words):
            words.append(word)
    return words


def _percentiles(values: list[float]) -> tuple[float, float, float]:
    ordered = sorted(values)
    p50, p95, p99 = (round(ordered[min(len(ordered) - 1, int(len(ordered) * p))], 2) for p in (0.5, 0.95, 0.99))
    return p50, p95, p99
