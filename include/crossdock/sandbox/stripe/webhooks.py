"""Signed webhooks: each event is sent to one URL, in the order of the events, again and again until it is taken."""

import hashlib
import hmac
import queue
import threading
import time
import urllib.error
import urllib.request
from typing import Any

from crossdock.sandbox.engine import codec

_TIMEOUT_S = 10.0
#: The vendor tries for three days; a test or a demo does not wait that long.
_WAITS_S = (0.1, 0.5, 2.0, 5.0)


def signature(secret: str, body: bytes, at_s: int) -> str:
    """Make the header `Stripe-Signature` of *body*: HMAC-SHA256 over the time and the body."""
    signed = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={signed}"


class WebhookSender:
    """Sends events in a thread of its own, once it has a URL."""

    def __init__(self, url: str | None, secret: str) -> None:
        self.url, self.secret = url, secret
        #: How often each event was taken, by its ID.
        self.delivered: dict[str, int] = {}
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox-webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._events.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def send(self, event: dict[str, Any]) -> None:
        """Queue *event*; without a URL nobody wants it."""
        if self.url:
            self._events.put(event)

    def _run(self) -> None:
        while (event := self._events.get()) is not None:
            for wait_s in (*_WAITS_S, 0.0):
                if self._stopping.is_set() or self._post(event):
                    break
                self._stopping.wait(wait_s)

    def _post(self, event: dict[str, Any]) -> bool:
        """Send *event* once; true if it was taken."""
        body = codec.encode(event)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(self.secret, body, int(time.time())),
        }
        request = urllib.request.Request(str(self.url), body, headers, method="POST")  # noqa: S310  the URL is a person's
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310
                self.delivered[event["id"]] = self.delivered.get(event["id"], 0) + 1
                return True
        except (urllib.error.URLError, OSError, ValueError):
            return False
