"""Webhooks: each document is sent to one URL, in their order, again and again until it is taken."""

import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from crossdock.sandbox.engine import codec

_TIMEOUT_S = 10.0
#: Vendors try for days; a test or a demo does not wait that long.
_WAITS_S = (0.1, 0.5, 2.0, 5.0)


class WebhookSender:
    """Sends documents in a thread of its own, once it has a URL. A vendor's own one signs them."""

    def __init__(self, url: str | None) -> None:
        self.url = url
        self._documents: queue.Queue[Any] = queue.Queue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox-webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._documents.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def send(self, document: Any) -> None:
        """Queue *document*; without a URL nobody wants it."""
        if self.url:
            self._documents.put(document)

    def headers_of(self, body: bytes) -> Mapping[str, str]:
        """Sign *body* as the vendor does."""
        raise NotImplementedError

    def note_taken(self, document: Any) -> None:
        """Take note that *document* was taken."""

    def _run(self) -> None:
        while (document := self._documents.get()) is not None:
            for wait_s in (*_WAITS_S, 0.0):
                if self._stopping.is_set() or self._post(document):
                    break
                self._stopping.wait(wait_s)

    def _post(self, document: Any) -> bool:
        """Send *document* once; true if it was taken."""
        body = codec.encode(document)
        headers = {"Content-Type": "application/json; charset=utf-8", **self.headers_of(body)}
        request = urllib.request.Request(str(self.url), body, headers, method="POST")  # noqa: S310  the URL is a person's
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310
                self.note_taken(document)
                return True
        except (urllib.error.URLError, OSError, ValueError):
            return False
