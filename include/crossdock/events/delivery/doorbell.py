"""Tell the consumers of a worker which events are new: one read for all of them, where each would read for itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress

from crossdock.core.errors import Transient
from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.model import Position

#: A look costs a quarter of a millisecond. While nothing is new, it is made less and less often, up to the maximum.
_MIN_LOOK_INTERVAL_S = 0.02
_MAX_LOOK_INTERVAL_S = 0.05
#: With more new events, all bells ring: to tell them apart costs more than that some look for nothing.
_AT_MOST = 500
_AFTER_AN_ERROR_S = 0.5


class Bell:
    """What one consumer waits at. It rings for new events of its types."""

    #: Without a ring, a consumer looks for events so often: nothing depends on the bell but how soon it does.
    LOOK_EVERY_S = 1.0

    def __init__(self, types: Collection[str]) -> None:
        self.types = frozenset(types)
        self._rung = threading.Event()
        self._rings: dict[int, int] = {}
        self._all_rings = 0

    def rings(self, partition: int) -> int:
        """Count the rings for a partition so far. Ask before reading: what comes during the read rings once more."""
        return self._all_rings + self._rings.get(partition, 0)

    def wait(self, timeout_s: float) -> None:
        """Wait until it rings, at most *timeout_s*."""
        if self._rung.wait(timeout_s):
            self._rung.clear()

    def ring(self, partitions: Collection[int]) -> None:
        for partition in partitions:
            self._rings[partition] = self._rings.get(partition, 0) + 1
        self._rung.set()

    def ring_for_all(self) -> None:
        self._all_rings += 1
        self._rung.set()


class Doorbell:
    """
    Looks for new events, and rings the bells of those that they are for. A background task of each worker.

    What it rings for is below the horizon, so that whoever reads then finds it.
    """

    def __init__(self, store: Store, partitions: int, is_over: Callable[[], bool]) -> None:
        self._reads = store.another(session=event_store.READER_SESSION)
        self._partitions, self._is_over = partitions, is_over
        self._bells: tuple[Bell, ...] = ()
        self._hanging = threading.Lock()
        #: Up to where it has looked; None before the first look, and after an error.
        self._cursor: Position | None = None

    def bell(self, types: Collection[str]) -> Bell:
        """Hang up a bell for events of *types*."""
        bell = Bell(types)
        with self._hanging:
            self._bells = (*self._bells, bell)
        return bell

    def remove(self, bell: Bell) -> None:
        """Take a bell down."""
        with self._hanging:
            self._bells = tuple(other for other in self._bells if other is not bell)

    @property
    def over(self) -> bool:
        return self._is_over()

    def run(self) -> None:
        """Look and ring until it is over."""
        interval_s = _MIN_LOOK_INTERVAL_S
        with self._reads:
            while not self.over:
                try:
                    found = self.look()
                except Transient:
                    # The consumers meet the same error, and say so.
                    self.reset()
                    time.sleep(_AFTER_AN_ERROR_S)
                    continue
                interval_s = _MIN_LOOK_INTERVAL_S if found else min(interval_s * 1.5, _MAX_LOOK_INTERVAL_S)
                time.sleep(interval_s)

    def look(self) -> bool:
        """Look once, and ring for what is new; return whether there was anything."""
        with self._reads.question() as work:
            if self._cursor is None:
                self._cursor = event_store.horizon(work)
                self._ring_all()
                return True
            found, self._cursor = event_store.news(work, self._cursor, partitions=self._partitions, limit=_AT_MOST)
        if len(found) == _AT_MOST:
            self._ring_all()
        elif found:
            self._ring(found)
        return bool(found)

    def reset(self) -> None:
        """Forget how far it has looked: after a restore, that is not true there."""
        self._cursor = None
        with suppress(Exception):
            self._reads.close()

    def _ring_all(self) -> None:
        for bell in self._bells:
            bell.ring_for_all()

    def _ring(self, found: Collection[tuple[str, int]]) -> None:
        new = set(found)
        for bell in self._bells:
            if partitions := {partition for type_, partition in new if type_ in bell.types}:
                bell.ring(partitions)
