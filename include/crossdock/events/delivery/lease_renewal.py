"""Keeps a worker's leases alive while an effect outside runs, which may take longer than they live."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from crossdock.core.errors import HubError
from crossdock.db.database import Store, Work

log = logging.getLogger(__name__)


class Keeper:
    """
    One of a worker's threads has it. Its connection is its own, and opened when an effect first turns out to be slow.

    Never for longer than the effect may take: a handler that hangs would otherwise keep its events for ever.
    """

    def __init__(self, store: Store, renew: Callable[[Work], None], life: timedelta, *, of: str) -> None:
        """
        *renew*, called four times in *life*, must not mind that a lease is lost: whoever commits finds that out.
        *of*: whose effects these are, for the log.
        """
        self._store, self._renew, self._of = store, renew, of
        self._every_s = life.total_seconds() / 4
        #: When the last call began or ended, of time.monotonic().
        self.called_at = 0.0

    @contextmanager
    def during(self, at_most_s: float) -> Iterator[None]:
        """The leases, alive while the block runs, but not when that takes longer than *at_most_s*."""
        ended = threading.Event()
        thread = threading.Thread(
            target=self._keep, args=(ended, at_most_s), name=f"{threading.current_thread().name}-keeper", daemon=True
        )
        thread.start()
        self.called_at = time.monotonic()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.called_at = time.monotonic()

    def _keep(self, ended: threading.Event, at_most_s: float) -> None:
        until = time.monotonic() + at_most_s
        while not ended.wait(min(self._every_s, max(until - time.monotonic(), 0.0))):
            if time.monotonic() >= until:
                log.warning("An effect of %s hangs: after %.0f s its events are free for another", self._of, at_most_s)
                return
            try:
                with self._store.transaction() as work:
                    self._renew(work)
            except HubError as error:
                log.warning("A lease of %s is not renewed while its effect runs: %s", self._of, error)

    def close(self) -> None:
        self._store.close()


@dataclass(frozen=True)
class Holding:
    """What makes a call outside safe: leases that are ours when it begins, and stay so while it lasts."""

    keeper: Keeper
    #: Asked before each call; raises when the leases are lost.
    check: Callable[[], None]
