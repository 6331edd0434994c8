"""Single records, read from their source and loaded at once: the way every record goes, without a DAG run."""

from __future__ import annotations

import threading
import time
import uuid
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Self

from crossdock.app.streams import SYNCS
from crossdock.core.errors import BadEvent, HubError
from crossdock.sync import Sync, Systems, extract, load, mark_failed, validate
from crossdock.sync.model import SyncRequest

#: Pulls of different keys do not wait for each other, nor for the live sync: the guard by version settles who is newer.
_LEASES = 16


class _Pull(SyncRequest, frozen=True):
    """A request of named keys with a lease beside the live sync's."""

    @property
    def lease_shard(self) -> str:
        return f"webhook:{zlib.crc32(self.keys[0].encode()) % _LEASES}"


#: A pull opens the systems where none are open, for the next pulls too. So long a pause, or a changed connection, may
#: go unseen; an error closes them at once.
_OPEN_S = 5.0


@dataclass
class _Opened:
    """The systems of a sync, with how they are closed and when they are too old."""

    systems: Systems
    ends: ExitStack
    until: float


class Puller:
    """
    A `KeyPuller` over the hub's own syncs, which keeps their systems open for some seconds: to open them costs more
    than a pull. A thread has its own. Close it when the threads have ended.
    """

    def __init__(
        self, systems_of: Callable[[Sync], AbstractContextManager[Systems]], *, open_s: float = _OPEN_S
    ) -> None:
        self._systems_of, self._open_s = systems_of, open_s
        self._opened: dict[tuple[int, str], _Opened] = {}

    def pull(self, entity: str, keys: Sequence[str]) -> None:
        sync = SYNCS.get(entity)
        if sync is None:
            raise BadEvent("of a webhook", "sync", f"nobody syncs {entity!r}")
        pull_id, is_done = f"pull__{uuid.uuid4().hex}", False
        systems = self._open(sync)
        try:
            run_id = extract(sync, systems, _Pull(keys=tuple(dict.fromkeys(keys))), dag_run_id=pull_id)
            load(sync, systems, validate(sync, systems, run_id))
            is_done = True
        except HubError as error:
            # Tried again, it is another run: nobody comes back to this one. No alert of its own: the next pull may have
            # another lease, and would not close it; the event waits for its next try, or is a dead letter, which is told.
            mark_failed(sync, systems.store, pull_id, str(error), raise_alert=False)
            raise
        finally:
            if not is_done:
                self._close(threading.get_ident(), entity)

    def close(self) -> None:
        for thread, entity in list(self._opened):
            self._close(thread, entity)

    def _open(self, sync: Sync) -> Systems:
        key = threading.get_ident(), sync.entity
        known = self._opened.get(key)
        if known and time.monotonic() < known.until:
            return known.systems
        self._close(*key)
        with ExitStack() as opening:
            systems = opening.enter_context(self._systems_of(sync))
            self._opened[key] = _Opened(systems, opening.pop_all(), time.monotonic() + self._open_s)
        return systems

    def _close(self, thread: int, entity: str) -> None:
        known = self._opened.pop((thread, entity), None)
        if known:
            known.ends.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
