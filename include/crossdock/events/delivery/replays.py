"""Works off the replays that somebody asked for, in a thread of its own: what they tell may be slow, or hang."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from crossdock.core.errors import Terminal, Transient
from crossdock.db.database import Store
from crossdock.events.ports import KeyPuller
from crossdock.events.replay import service as replay_events
from crossdock.events.replay.service import Executor
from crossdock.events.subscriber import Subscriber

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5


class Replays:
    """A thread of the first worker; a second one beside it, for a moment, does no harm: each replay is one's alone."""

    def __init__(
        self,
        store: Store,
        subscribers: Mapping[str, Subscriber],
        is_over: Callable[[], bool],
        puller: KeyPuller | None = None,
        executors: Mapping[str, Executor] | None = None,
    ) -> None:
        self._store, self._subscribers, self._is_over, self._puller = store, subscribers, is_over, puller
        self._executors = executors or {}

    @property
    def over(self) -> bool:
        return self._is_over()

    def run(self) -> None:
        """The oldest that nobody works on, one after the other, until the worker's life is over."""
        with self._store:
            while not self._is_over():
                try:
                    replay_events.work_off(
                        self._store,
                        subscribers=self._subscribers,
                        executors=self._executors,
                        until=self._is_over,
                        puller=self._puller,
                    )
                except Transient as error:
                    log.warning("Replays wait: %s", error)
                except Terminal:
                    log.exception("A replay cannot go on")  # It was put off; younger ones have their turn.
                time.sleep(_LOOK_EVERY_S)

    def begin_anew(self) -> None:
        """Without a connection that a defect may have left half done."""
        self._store.close()
