"""The public keys that senders publish, read over HTTP and remembered in this process."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit, urlunsplit

from crossdock.core.errors import BadRequest, HubError, SystemUnavailable, Terminal
from crossdock.events.webhooks_in.rules import NotConfigured, WebhookRefused
from crossdock.http.client import HttpClient
from crossdock.http.config import ClientConfig
from crossdock.http.model import Limits
from crossdock.http.ssrf_guard import AllowedNetworks, Resolver

#: A sender that rotates its keys publishes the new ones a day before.
_FRESH_S = 3_600.0
#: A stranger names keys that nobody has: the sender is asked for newer ones at most so often, and after a failure.
_AGAIN_S = 30.0
#: URLs are checked by the scheme, which leaves a stranger some choice.
_MOST_DOCUMENTS, _MOST_FAILURES = 32, 64
#: Of one host: what a stranger makes up for one sender takes nothing from the others.
_MOST_READS, _READS_WITHIN_S = 20, 60.0
#: Deliveries that wait at once for a document that they name themselves. Each keeps its thread, and made-up names must leave
#: some to the others.
_MOST_WAITING = 4
_LIMITS = Limits(timeout_s=3.0, connect_timeout_s=2.0, attempts=1, answer_bytes=256 * 1024, longest_wait_s=1.0)
_OK = frozenset({200})


@dataclass(frozen=True)
class _Document:
    body: bytes
    read_at: float


@dataclass(frozen=True)
class _Failure:
    at: float
    #: Whether the host answers, and has no such document.
    is_missing: bool = False


class PublicKeys:
    """
    Read documents of keys, each at most twice a minute. Safe for threads.

    What was read holds until a newer one can be read: a sender's host that is away refuses nobody. It is forgotten only for
    other documents that were used later, never for URLs at which there is nothing.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, resolve: Resolver | None = None) -> None:
        self._clock, self._resolve = clock, resolve
        #: By URL: the one that was used last is the last.
        self._documents: OrderedDict[str, _Document] = OrderedDict()
        self._failures: OrderedDict[str, _Failure] = OrderedDict()
        self._lock = threading.Lock()
        self._reading: dict[str, threading.Lock] = {}
        #: By host. Hosts come from connections and schemes, so that they are few.
        self._reads: dict[str, deque[float]] = {}
        self._places = threading.BoundedSemaphore(_MOST_WAITING)

    def read(
        self, url: str, *, newer: bool = False, allowed_networks: Sequence[str] = (), is_named_by_delivery: bool = False
    ) -> bytes:
        """
        Read the document at *url*; a *newer* one than is known, if it is not from a moment ago.

        Args:
            url: Where it is.
            newer: Whether the one that is known lacks something.
            allowed_networks: Private networks that *url* may lead to.
            is_named_by_delivery: Whether the delivery itself names *url*, not the connection.

        Raises:
            SystemUnavailable: it cannot be read, and none is known.
            WebhookRefused: there is nothing at the URL that the delivery names.
            NotConfigured: the URL cannot be used, or there is nothing at that of the connection.

        """
        document, failure = self._remembered(url)
        if self._is_due(document, failure, newer=newer) and self._may_wait(is_named_by_delivery):
            try:
                with self._one_at_a_time(url):  # All who need it at once wait for one answer.
                    document, failure = self._remembered(url)
                    if self._is_due(document, failure, newer=newer):
                        document, failure = self._read_anew(url, allowed_networks, document)
            finally:
                self._waited(is_named_by_delivery)
        if document is not None:
            return document.body
        if failure is None or not failure.is_missing:
            raise SystemUnavailable("webhook_keys", "the sender's public keys cannot be read", retry_in_s=_AGAIN_S)
        if is_named_by_delivery:
            raise WebhookRefused("there are no public keys where the delivery says")
        raise NotConfigured("the sender's public keys are not where they should be")

    def _may_wait(self, is_named_by_delivery: bool) -> bool:
        return not is_named_by_delivery or self._places.acquire(blocking=False)

    def _waited(self, is_named_by_delivery: bool) -> None:
        if is_named_by_delivery:
            self._places.release()

    @contextmanager
    def _one_at_a_time(self, url: str) -> Iterator[None]:
        with self._lock:
            reading = self._reading.setdefault(url, threading.Lock())
        try:
            with reading:
                yield
        finally:
            with self._lock:
                # Who waits for the same lock still has it, and finds the answer remembered.
                self._reading.pop(url, None)

    def _remembered(self, url: str) -> tuple[_Document | None, _Failure | None]:
        with self._lock:
            if url in self._documents:
                self._documents.move_to_end(url)
            return self._documents.get(url), self._failures.get(url)

    def _is_due(self, document: _Document | None, failure: _Failure | None, *, newer: bool) -> bool:
        now = self._clock()
        if document is not None:
            return now - document.read_at >= (_AGAIN_S if newer else _FRESH_S)
        return failure is None or now - failure.at >= _AGAIN_S

    def _read_anew(
        self, url: str, allowed_networks: Sequence[str], known: _Document | None
    ) -> tuple[_Document | None, _Failure | None]:
        host, path = _parts(url)
        now = self._clock()
        if not self._may_read(host, now):
            # Not remembered: it was not asked for, and may be a good one.
            return known, None
        client = _client(host, allowed_networks, self._resolve)
        try:
            body = client.get(path, {}, lambda answer: answer.body, accept=_OK)
        except HubError as error:
            if known is None:
                return None, self._remember_failure(url, _Failure(now, is_missing=isinstance(error, Terminal)))
            body = known.body
        finally:
            client.close()
        return self._remember(url, _Document(body, now)), None

    def _may_read(self, host: str, now: float) -> bool:
        with self._lock:
            reads = self._reads.setdefault(host, deque(maxlen=_MOST_READS))
            if len(reads) == _MOST_READS and reads[0] > now - _READS_WITHIN_S:
                return False
            reads.append(now)
            return True

    def _remember(self, url: str, document: _Document) -> _Document:
        with self._lock:
            self._failures.pop(url, None)
            self._documents[url] = document
            self._documents.move_to_end(url)
            if len(self._documents) > _MOST_DOCUMENTS:
                self._documents.popitem(last=False)
        return document

    def _remember_failure(self, url: str, failure: _Failure) -> _Failure:
        with self._lock:
            self._failures[url] = failure
            self._failures.move_to_end(url)
            if len(self._failures) > _MOST_FAILURES:
                self._failures.popitem(last=False)
        return failure


def _parts(url: str) -> tuple[str, str]:
    """Split *url* into its host, with the scheme, and its path, with the query."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise NotConfigured("the address of the sender's public keys is not valid") from error
    return urlunsplit((parts.scheme, parts.netloc, "", "", "")), urlunsplit(("", "", parts.path, parts.query, ""))


def _client(host: str, allowed_networks: Sequence[str], resolve: Resolver | None) -> HttpClient:
    try:
        allowed = AllowedNetworks.from_extra({"allowed_networks": list(allowed_networks)})
        config = ClientConfig(limits=_LIMITS, allowed_networks=allowed if allowed_networks else None, resolve=resolve)
        return HttpClient("webhook_keys", host, config=config)
    except BadRequest as error:
        raise NotConfigured(f"the public keys cannot be read: {error}") from error


@cache
def public_keys() -> PublicKeys:
    """Return the public keys of this process."""
    return PublicKeys()
