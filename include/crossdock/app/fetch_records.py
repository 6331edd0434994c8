"""Fetch single records from their source and load them at once: the same steps as a sync, without a DAG run."""

from __future__ import annotations

import logging
import threading
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import Self

from crossdock.app.streams import stream_of
from crossdock.core.decoding import prepare
from crossdock.core.errors import BadEvent, BadRequest, HubError, IntegrationUnusable
from crossdock.core.log import logger
from crossdock.sync import Stream, Systems, extract, load, mark_failed, validate
from crossdock.sync.landing import LandingInMemory
from crossdock.sync.model import Counts, Report, SyncRequest

log = logger(__name__)

#: Fetches of different keys do not wait for each other, nor for the live sync: the version guard decides which is newer.
_LEASES = 16


class _FetchRequest(SyncRequest, frozen=True):
    """A request of named keys, with a lease beside the one of the live sync."""

    @property
    def lease_shard(self) -> str:
        return f"webhook:{zlib.crc32(self.keys[0].encode()) % _LEASES}"


prepare(_FetchRequest)

#: A fetch opens the systems and leaves them open for the next ones. A pause, or a changed connection, may go unnoticed
#: for this long; an error closes them at once.
_OPEN_S = 5.0
#: How often one line tells of all fetches. A line for each would be 300 MB a day at five webhooks a second.
_LOGGED_EVERY_S = 60.0


@dataclass
class _Opened:
    """The open systems of a sync, how to close them, and when they expire."""

    systems: Systems
    ends: ExitStack
    until: float


class FetchTally:
    """Counts the fetches of all threads by stream, and tells of them in one line a minute."""

    def __init__(self, every_s: float = _LOGGED_EVERY_S) -> None:
        self._every_s, self._lock = every_s, threading.Lock()
        self._fetches: Counter[str] = Counter()
        self._records: dict[str, Counts] = {}
        self._tell_at = time.monotonic() + every_s

    def add(self, done: Report) -> None:
        """Count a fetch, and log when the minute is over."""
        with self._lock:
            self._fetches[done.stream] += 1
            self._records[done.stream] = self._records.get(done.stream, Counts()) + done.counts
        if time.monotonic() >= self._tell_at:
            self.tell()

    def tell(self) -> None:
        """Log what was counted since the last time, a line for each stream; nothing where there is nothing to tell."""
        with self._lock:
            fetches, records = self._fetches, self._records
            self._fetches, self._records = Counter(), {}
            self._tell_at = time.monotonic() + self._every_s
        for stream, number in fetches.items():
            log.info("%s fetches of %s, done in the last minute: %s", f"{number:,}", stream, records[stream])


class SyncRecordFetcher:
    """
    A `RecordFetcher` that runs the hub's own syncs for single keys.

    A fetch leaves its row in the ledger, and no file: a retry is another run, and what is rejected is in quarantine, whole.

    It keeps their systems open for some seconds, because opening them costs more than a fetch; each thread has its own.
    Close it when the threads have ended.
    """

    def __init__(
        self,
        systems_of: Callable[[Stream], AbstractContextManager[Systems]],
        *,
        stream_of: Callable[[str], Stream] = stream_of,
        open_s: float = _OPEN_S,
    ) -> None:
        self._systems_of, self._stream_of, self._open_s = systems_of, stream_of, open_s
        self._opened: dict[tuple[int, str], _Opened] = {}
        self._tally = FetchTally()

    def fetch(self, stream_id: str, keys: Sequence[str], *, by_id: bool = False) -> None:
        """
        Fetch the records of a stream under *keys* (with *by_id*: ids of the source), validate and load them.

        Raises:
            BadEvent: there is no such stream.
            IntegrationUnusable: its connection lacks a value, or points elsewhere than its credentials were given for.
            HubError: as the sync raises it.

        """
        try:
            stream = self._stream_of(stream_id)
        except BadRequest as error:
            raise BadEvent("of a webhook", "sync", str(error)) from error
        fetch_id, is_done = f"fetch__{uuid.uuid4().hex}", False
        systems = replace(self._open(stream), landing=LandingInMemory(), log_level=logging.DEBUG)
        try:
            # Only what is read differs: a record that is rejected is still known by its business key.
            read = replace(stream, key_field="id") if by_id else stream
            run_id = extract(read, systems, _FetchRequest(keys=tuple(dict.fromkeys(keys))), dag_run_id=fetch_id)
            self._tally.add(load(stream, systems, validate(stream, systems, run_id)))
            is_done = True
        except HubError as error:
            # A retry is another run, so this one stays failed. It opens no alert of its own: the next fetch may have
            # another lease and would not close it. The event waits for its retry, or becomes a dead letter, with an alert.
            mark_failed(stream, systems.store, fetch_id, str(error), raise_alert=False, has_pages=False)
            raise
        finally:
            if not is_done:
                self._close(threading.get_ident(), stream_id)

    def close(self) -> None:
        """Close the systems of all threads, and tell of their last fetches."""
        self._tally.tell()
        for thread, stream_id in list(self._opened):
            self._close(thread, stream_id)

    def _open(self, stream: Stream) -> Systems:
        key = threading.get_ident(), stream.id
        known = self._opened.get(key)
        if known and time.monotonic() < known.until:
            return known.systems
        self._close(*key)
        with ExitStack() as opening:
            try:
                systems = opening.enter_context(self._systems_of(stream))
            except BadRequest as error:
                raise IntegrationUnusable(str(error), hint=error.hint) from error
            self._opened[key] = _Opened(systems, opening.pop_all(), time.monotonic() + self._open_s)
        return systems

    def _close(self, thread: int, stream_id: str) -> None:
        known = self._opened.pop((thread, stream_id), None)
        if known:
            known.ends.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
