"""One delivery worker: a supervised thread for each subscriber and for each background task."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Protocol

from crossdock.core.log import logger
from crossdock.db.database import Store
from crossdock.events.delivery.attempt import Recipient
from crossdock.events.delivery.consumer import Consumer, PartitionAssignment, ShutdownToken
from crossdock.events.delivery.doorbell import Doorbell
from crossdock.events.delivery.partition import PollingConfig
from crossdock.events.subscriber import Subscriber

log = logger(__name__)

_WATCH_EVERY_S = 0.2
#: When a worker is ended from outside, how long it waits for its threads to release their partitions; then they expire.
_RELEASE_TIMEOUT_S = 2.0


class BackgroundTask(Protocol):
    """The job of one thread of a worker."""

    @property
    def over(self) -> bool:
        """True when it has to end."""
        ...

    def run(self) -> None:
        """Run until it is over."""
        ...

    def reset(self) -> None:
        """Drop what a defect may have left half done; called before it runs again."""
        ...


#: Creates a background task of the first worker; given a function that says whether the worker has to end.
Background = Callable[[Callable[[], bool]], BackgroundTask]


@dataclass
class DeliveryReport:
    """The number of events that a worker delivered, by subscriber."""

    events: dict[str, int] = field(default_factory=dict)


def deliver(
    open_store: Callable[[], Store],
    assignment: PartitionAssignment,
    *,
    lifetime: timedelta,
    subscribers: Mapping[str, Subscriber],
    polling: PollingConfig | None = None,
    background: Mapping[str, Background] | None = None,
    stop: threading.Event | None = None,
) -> DeliveryReport:
    """
    Deliver until *lifetime* has passed or *stop* is set; a normal end releases all partitions at once.

    Errors of the database are waited out; errors of a subscriber become retries and dead letters. A thread that ends by
    a defect of ours logs it and starts again. A thread whose subscriber hangs is abandoned and replaced. The worker may
    be killed at any moment and run beside any number of others.
    """
    polling = polling or PollingConfig()
    shutdown = ShutdownToken(stop or threading.Event(), time.monotonic() + lifetime.total_seconds())
    doorbell = Doorbell(open_store(), assignment.partitions, lambda: shutdown.over)
    supervised = [
        _SupervisedConsumer(
            partial(
                Consumer, open_store(), assignment, shutdown, polling, Recipient(name, subscriber), doorbell=doorbell
            ),
            shutdown,
            polling,
        )
        for name, subscriber in subscribers.items()
    ]
    try:
        _start_thread("The doorbell of events", doorbell, shutdown, polling)
        for thread in supervised:
            thread.start()
        # One worker of a hub runs the background tasks; a second one beside it, while workers change, does no harm.
        tasks = background or {} if assignment.worker_no == 0 else {}
        ended = [_start_thread(name, task(lambda: shutdown.over), shutdown, polling) for name, task in tasks.items()]
        alive = supervised
        while alive:
            alive = [thread for thread in alive if thread.is_alive()]
    except BaseException:
        shutdown.stop.set()
        for thread in supervised:
            thread.wait(_RELEASE_TIMEOUT_S)
        raise
    # Background threads that do not end in time are left behind, as if they were killed; others beside them do no harm.
    until = time.monotonic() + max((known.effect_timeout_s for known in subscribers.values()), default=0.0)
    for event in ended:
        event.wait(max(until - time.monotonic(), 0.0))
    return DeliveryReport({thread.name: thread.processed for thread in supervised})


class _SupervisedConsumer:
    """A subscriber's consumer in its thread. When it hangs, a new consumer replaces it."""

    def __init__(self, new_consumer: Callable[[], Consumer], shutdown: ShutdownToken, polling: PollingConfig) -> None:
        self._new_consumer, self._shutdown, self._polling = new_consumer, shutdown, polling
        self._consumers: list[Consumer] = []
        self._ended = threading.Event()

    def start(self) -> None:
        """Start a new consumer in its own thread."""
        consumer = self._new_consumer()
        self._consumers.append(consumer)
        self.name = consumer.name
        self._ended = _start_thread(f"Delivery to {self.name}", consumer, self._shutdown, self._polling)

    @property
    def processed(self) -> int:
        """The number of events, over all consumers that ran here."""
        return sum(consumer.processed for consumer in self._consumers)

    def is_alive(self) -> bool:
        """Watch the thread for a moment; replace its consumer when it hangs. False when the thread has ended."""
        if self._ended.wait(_WATCH_EVERY_S):
            return False
        if self._consumers[-1].hangs:
            # A thread cannot be killed. It commits nothing more; its replacement retries its events, which counts.
            log.error("Delivery to %s hangs in its subscriber; its thread is abandoned and replaced", self.name)
            self._consumers[-1].abandoned = True
            if self._shutdown.over:
                return False
            self.start()
        return True

    def wait(self, timeout_s: float) -> None:
        """Wait for the thread to end."""
        self._ended.wait(timeout_s)


def _start_thread(name: str, task: BackgroundTask, shutdown: ShutdownToken, polling: PollingConfig) -> threading.Event:
    """
    Run *task* in a thread of its own, restarted after each defect; return an event that is set when it is over.

    The restart is the thread's own: nobody else would take its events for minutes. An event, not the thread to join: a
    signal that comes while Thread.join waits makes it take a living thread for an ended one.
    """
    ended = threading.Event()

    def run_until_over() -> None:
        try:
            while not task.over:
                _run_once(name, task, shutdown, polling)
        finally:
            ended.set()

    threading.Thread(target=run_until_over, name=name, daemon=True).start()
    return ended


def _run_once(name: str, task: BackgroundTask, shutdown: ShutdownToken, polling: PollingConfig) -> None:
    try:
        task.run()
    except Exception:
        log.exception("%s failed unexpectedly; it restarts in %.0f s", name, polling.after_a_defect_s)
        with suppress(Exception):
            task.reset()
        shutdown.stop.wait(polling.after_a_defect_s)
