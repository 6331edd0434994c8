"""One worker of the delivery: a thread for each subscriber and for each background work, supervised."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Protocol

from crossdock.db.database import Store
from crossdock.events.delivery.attempt import Recipient
from crossdock.events.delivery.consumer import Life, Place, Reader
from crossdock.events.delivery.partition import Pace
from crossdock.events.ports import KeyPuller
from crossdock.events.subscriber import Subscriber

log = logging.getLogger(__name__)

_WATCH_EVERY_S = 0.2
#: A worker that is ended from outside gives its partitions back in this time, or they run out by themselves.
_GIVE_BACK_S = 2.0


class BackgroundWork(Protocol):
    """What a thread of a worker does."""

    @property
    def over(self) -> bool: ...

    def run(self) -> None: ...

    def begin_anew(self) -> None:
        """Run between two runs, of which the first ended by a defect."""
        ...


#: Given whether the worker's life is over: what a thread of the first worker does beside the delivery.
Background = Callable[[Callable[[], bool]], BackgroundWork]


@dataclass
class Delivered:
    """What a worker did in its life."""

    events: dict[str, int] = field(default_factory=dict)


def deliver(
    open_store: Callable[[], Store],
    place: Place,
    *,
    lifetime: timedelta,
    subscribers: Mapping[str, Subscriber],
    pace: Pace | None = None,
    puller: KeyPuller | None = None,
    background: Mapping[str, Background] | None = None,
    stop: threading.Event | None = None,
) -> Delivered:
    """
    Delivers until *lifetime* is over or *stop* is set. Ended well, it leaves its partitions free at once.

    Errors of the database are waited out; errors of a handler become failed deliveries. A thread that ends by a
    defect of ours is told of at once, and begins anew; one that hangs in a handler is left behind, and another has
    its place. It may be killed at any moment, and run beside any number of others.
    """
    life = Life(pace or Pace(), stop or threading.Event(), time.monotonic() + lifetime.total_seconds())
    posts = [
        _Post(partial(Reader, open_store(), place, life, Recipient(name, subscriber, puller)), life)
        for name, subscriber in subscribers.items()
    ]
    try:
        for post in posts:
            post.fill()
        # Once in a hub is enough; a second one beside it, while workers change, does no harm.
        beside = background or {} if place.worker_no == 0 else {}
        ended = [_started(name, life, work(lambda: life.over)) for name, work in beside.items()]
        at_work = posts
        while at_work:
            at_work = [post for post in at_work if post.is_filled()]
    except BaseException:
        life.stop.set()
        for post in posts:
            post.leave(_GIVE_BACK_S)
        raise
    # Left behind, they are as good as killed; others beside them do no harm.
    until = time.monotonic() + max((each.effect_timeout_s for each in subscribers.values()), default=0.0)
    for each in ended:
        each.wait(max(until - time.monotonic(), 0.0))
    return Delivered({post.name: post.dealt for post in posts})


class _Post:
    """A subscriber's reader in its thread. When it hangs, another reader takes its place."""

    def __init__(self, new_reader: Callable[[], Reader], life: Life) -> None:
        self._new_reader, self._life = new_reader, life
        self._readers: list[Reader] = []
        self._ended = threading.Event()

    def fill(self) -> None:
        """Somebody new, at work at once."""
        reader = self._new_reader()
        self._readers.append(reader)
        self.name = reader.name
        self._ended = _started(f"Delivery to {self.name}", self._life, reader)

    @property
    def dealt(self) -> int:
        """How many events, whoever had the post."""
        return sum(reader.dealt for reader in self._readers)

    def is_filled(self) -> bool:
        """Whether somebody is at work there, after a short look."""
        if self._ended.wait(_WATCH_EVERY_S):
            return False
        if self._readers[-1].hangs:
            # A thread cannot be ended. It commits nothing more; its events are tried by the next one, which counts that.
            log.error("Delivery to %s hangs in its handler; its thread is left behind", self.name)
            self._readers[-1].abandoned = True
            if self._life.over:
                return False
            self.fill()
        return True

    def leave(self, patience_s: float) -> None:
        self._ended.wait(patience_s)


def _started(what: str, life: Life, work: BackgroundWork) -> threading.Event:
    """
    Set when *work* is over, which runs in a thread of its own, however often it has to begin anew.

    One that ended by a defect and was only asked at the end would leave its events to nobody for minutes. An event, not
    the thread to join: a signal that comes while Thread.join waits makes it take a living thread for an ended one.
    """
    ended = threading.Event()

    def keep_at_it() -> None:
        try:
            while not work.over:
                _run_once(what, life, work)
        finally:
            ended.set()

    threading.Thread(target=keep_at_it, name=what, daemon=True).start()
    return ended


def _run_once(what: str, life: Life, work: BackgroundWork) -> None:
    try:
        work.run()
    except Exception:
        log.exception("%s ended by a defect; it begins anew in %.0f s", what, life.pace.after_a_defect_s)
        with suppress(Exception):
            work.begin_anew()
        life.stop.wait(life.pace.after_a_defect_s)
