"""The webhooks: each outcome is an item, signed by itself, and sent to the URL that was set, as the settings say."""

import base64
import hashlib
import hmac
import queue
import threading
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from crossdock.sandbox.engine import codec

Json = dict[str, Any]

_SIGNED = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference")
_TRIES = 3
_PAUSE_S = 0.2
_TIMEOUT_S = 10


def signature(item: Json, key: str) -> str:
    """Sign an item with the hexadecimal *key*: HMAC-SHA256 over eight of its fields, in base64."""
    fields = [item.get(name, "") for name in _SIGNED]
    fields += [item["amount"]["value"], item["amount"]["currency"], item["eventCode"], item["success"]]
    signed = ":".join(map(str, fields)).encode()
    return base64.b64encode(hmac.new(bytes.fromhex(key), signed, hashlib.sha256).digest()).decode()


def notification(items: list[Json]) -> bytes:
    """Encode the body of a delivery."""
    return codec.encode({"live": "false", "notificationItems": [{"NotificationRequestItem": item} for item in items]})


@dataclass
class Settings:
    #: Where to send; None holds everything.
    url: str | None = None
    #: Hold what comes from now on, until it is released.
    hold: bool = False
    delay_s: float = 0
    #: How many of the next items are lost.
    lose: int = 0


@dataclass
class Sending:
    """One item and what became of it: `held`, `lost`, `waiting`, `sent`, or `refused` by the receiver."""

    item: Json
    status: str = "held"
    tries: int = 0


@dataclass
class Outbox:
    """Keeps all items and sends them, one after the other, in a thread of its own."""

    merchant_account: str
    hmac_key: str
    settings: Settings = field(default_factory=Settings)
    sendings: list[Sending] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _queue: "queue.Queue[Sending | None]" = field(default_factory=queue.Queue)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._work, name="adyen-webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(_TIMEOUT_S)

    def add(self, content: Json) -> None:
        """Make a signed item of *content*, and send, hold or lose it."""
        date = datetime.now(UTC).isoformat(timespec="seconds")
        item = {**content, "eventDate": date, "merchantAccountCode": self.merchant_account}
        item["additionalData"] = {"hmacSignature": signature(item, self.hmac_key)}
        sending = Sending(item)
        with self._lock:
            self.sendings.append(sending)
            if self.settings.lose > 0:
                self.settings.lose -= 1
                sending.status = "lost"
            elif self.settings.url and not self.settings.hold:
                sending.status = "waiting"
                self._queue.put(sending)

    def release(self, *, newest_first: bool = False, together: bool = False, again: bool = False) -> int:
        """Send what is held, or with *again* all that there is; returns the number of items. Returns when they were tried."""
        with self._lock:
            chosen = [sending for sending in self.sendings if again or sending.status == "held"]
        if newest_first:
            chosen.reverse()
        for batch in [chosen] if together and chosen else [[sending] for sending in chosen]:
            self._send(batch)
        return len(chosen)

    def as_document(self) -> Json:
        with self._lock:
            return {"settings": asdict(self.settings), "items": [asdict(sending) for sending in self.sendings]}

    def _work(self) -> None:
        while (sending := self._queue.get()) is not None:
            if not self._stopping.wait(self.settings.delay_s):
                self._send([sending])

    def _send(self, batch: list[Sending]) -> None:
        body = notification([sending.item for sending in batch])
        for _ in range(_TRIES):
            accepted = self._post(body)
            with self._lock:
                for sending in batch:
                    sending.tries += 1
                    sending.status = "sent" if accepted else "refused"
            if accepted or self._stopping.wait(_PAUSE_S):
                return

    def _post(self, body: bytes) -> bool:
        if not self.settings.url:
            return False
        request = urllib.request.Request(  # noqa: S310  the control API refuses other schemes
            self.settings.url, data=body, headers={"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310  as above
                return bool(200 <= response.status < 300)  # noqa: PLR2004  the 2xx of HTTP
        except (OSError, urllib.error.URLError):
            return False
