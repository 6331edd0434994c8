"""End a delivery worker when workflows wait for other types of events than when it began: its next run receives those, too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crossdock.app import workflow_snapshots
from crossdock.core.log import logger

log = logger(__name__)

_LOOK_EVERY_S = 2.0


@contextmanager
def ended_by_new_triggers(stop: Callable[[], object], *, every_s: float = _LOOK_EVERY_S) -> Iterator[None]:
    """Call *stop* when a deployment has changed the types of events that workflows wait for, while the block runs."""
    over = threading.Event()
    began = workflow_snapshots.event_types()

    def watch() -> None:
        while not over.wait(every_s):
            try:
                now = workflow_snapshots.event_types()
            except Exception as error:  # noqa: BLE001  an object store that does not answer: the next look may
                log.warning("The types of events that workflows wait for cannot be read: %s", type(error).__name__)
                continue
            if now != began:
                log.info(
                    "Workflows wait for %s: this worker ends, and its next run receives them", ", ".join(now) or "none"
                )
                stop()
                return

    threading.Thread(target=watch, name="Workflow watch", daemon=True).start()
    try:
        yield
    finally:
        over.set()
