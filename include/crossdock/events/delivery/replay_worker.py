"""Run requested replays in a thread of their own: what they call may be slow, or hang."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from crossdock.core.errors import Terminal, Transient
from crossdock.core.log import logger
from crossdock.db.database import Store
from crossdock.events.replay import service as replay_service
from crossdock.events.replay.service import Executor
from crossdock.events.subscriber import Subscriber

log = logger(__name__)

_LOOK_EVERY_S = 0.5


class ReplayWorker:
    """A background thread of the first worker. Two at a time do no harm: each claims its replays."""

    def __init__(
        self,
        store: Store,
        subscribers: Mapping[str, Subscriber],
        is_over: Callable[[], bool],
        executors: Mapping[str, Executor] | None = None,
    ) -> None:
        self._store, self._subscribers, self._is_over = store, subscribers, is_over
        self._executors = executors or {}

    @property
    def over(self) -> bool:
        """True when it has to end."""
        return self._is_over()

    def run(self) -> None:
        """Run the unclaimed replays one after the other, oldest first, until shutdown."""
        with self._store:
            while not self._is_over():
                try:
                    replay_service.run_replay(
                        self._store,
                        subscribers=self._subscribers,
                        executors=self._executors,
                        until=self._is_over,
                    )
                except Transient as error:
                    log.warning("Replays are waiting: %s", error)
                except Terminal:
                    log.exception("Cannot continue a replay")  # It was rescheduled, so that newer ones can run.
                time.sleep(_LOOK_EVERY_S)

    def reset(self) -> None:
        """Close the connection, which a defect may have left half done."""
        self._store.close()
