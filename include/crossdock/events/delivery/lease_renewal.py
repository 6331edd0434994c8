"""Renew a worker's leases during an external side effect, which may take longer than a lease lives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from crossdock.core.errors import HubError
from crossdock.core.log import logger
from crossdock.db.database import Store, Work

log = logger(__name__)


class LeaseRenewal:
    """
    The heartbeat of one thread's leases. It has a connection of its own, opened when an effect first turns out slow.

    It renews for no longer than the effect may take: a subscriber that hangs would otherwise keep its events for ever.
    """

    def __init__(self, store: Store, renew: Callable[[Work], None], life: timedelta, *, of: str) -> None:
        """
        Prepare the renewal; nothing runs yet.

        Args:
            store: The connection for the renewals.
            renew: Called four times per *life*. It must tolerate a lost lease: the commit checks the lease.
            life: How long a lease lives.
            of: Whose effects these are, for the log.

        """
        self._store, self._renew, self._of = store, renew, of
        self._every_s = life.total_seconds() / 4
        #: When the last call began or ended, of time.monotonic().
        self.called_at = 0.0

    @contextmanager
    def during(self, at_most_s: float) -> Iterator[None]:
        """Renew the leases while the block runs, for at most *at_most_s*."""
        ended = threading.Event()
        thread = threading.Thread(
            target=self._renew_until,
            args=(ended, at_most_s),
            name=f"{threading.current_thread().name}-renewal",
            daemon=True,
        )
        thread.start()
        self.called_at = time.monotonic()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.called_at = time.monotonic()

    def _renew_until(self, ended: threading.Event, at_most_s: float) -> None:
        until = time.monotonic() + at_most_s
        while not ended.wait(min(self._every_s, max(until - time.monotonic(), 0.0))):
            if time.monotonic() >= until:
                log.warning("An effect of %s hangs: after %.0f s its events go to another worker", self._of, at_most_s)
                return
            try:
                with self._store.transaction() as work:
                    self._renew(work)
            except HubError as error:
                log.warning("Cannot renew a lease of %s while its effect runs: %s", self._of, error)

    def close(self) -> None:
        """Close the connection."""
        self._store.close()


@dataclass(frozen=True)
class LeaseGuard:
    """Makes an external call safe: the leases are ours when it begins, and are renewed while it runs."""

    renewal: LeaseRenewal
    #: Called before each external call; raises when the leases are lost.
    check: Callable[[], None]
