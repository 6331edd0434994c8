"""Tell that the hub's database does not answer, or takes no writes: over a last resort, which needs nothing of the hub."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from crossdock.core.decoding import prepare
from crossdock.core.log import logger
from crossdock.maintenance.alerting.kinds import kind_of
from crossdock.maintenance.alerting.model import AlertMessage, Cause, Occasion, Severity
from crossdock.observability.alerts import Kind

log = logger(__name__)

_SUBJECT = "the hub's database"
#: Longer than any transaction of the sender takes on a busy machine.
PATIENCE = timedelta(seconds=30)
_HOUR_S, _RETRY_S = 3600.0, 15.0
_LOOK_EVERY_S = 1.0


class _Notice(msgspec.Struct, frozen=True):
    """What was sent of an outage over the last resort."""

    since: datetime
    #: When the last message was sent.
    at: datetime


prepare(_Notice)


class DatabaseWatch:
    """
    Watches how long ago the database has answered, and tells once an hour while it does not, and once when it does again.

    It asks nobody: a server that hangs answers no question. So the sender says when it had an answer.

    Args:
        hub: The name of the installation.
        send: Sends over the last resort; None if there is none.
        patience: For how long no answer is no reason to tell anybody.
        memory: A file with what was sent of an outage that is not over. A process that is started anew goes on from there.
        clock: Counts seconds. It never jumps, as the time of a machine does that wakes up or is set: that is no outage.

    """

    def __init__(
        self,
        hub: str,
        send: Callable[[AlertMessage], None] | None,
        *,
        patience: timedelta = PATIENCE,
        memory: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub, self._send, self._patience_s, self._now_s = hub, send, patience.total_seconds(), clock
        self._answered_at_s = self._now_s()
        self._is_down = False
        #: When the outage began: by the clock, and in the time of the machine.
        self._since_s, self._since = self._answered_at_s, datetime.now(UTC)
        #: When the next message of this outage is due.
        self._next_at_s = self._answered_at_s
        #: The closing message, until it is sent.
        self._closing: AlertMessage | None = None
        self._was_sent = False
        self._has_answered = False
        self._memory = memory
        self._resume()
        #: Why the database takes no writes; None where it did, or nobody knows.
        self._refuses: str | None = None

    def answered(self) -> None:
        """Note that the database has answered, and takes writes."""
        self._answered_at_s = self._now_s()
        self._has_answered = True
        self._refuses = None

    def refused(self, why: str) -> None:
        """Note that the database has answered, and takes no writes: for the hub that is as if it did not."""
        self._refuses = why

    def run(self, is_over: Callable[[], bool]) -> None:
        """Watch until it is over."""
        while not is_over():
            self.look()
            time.sleep(_LOOK_EVERY_S)

    def start(self, is_over: Callable[[], bool]) -> None:
        """Watch in a thread of its own: the sender's own may hang with the database."""
        threading.Thread(target=self.run, args=(is_over,), name="database watch", daemon=True).start()

    def look(self) -> None:
        """Tell what is due now."""
        answered_at_s = self._answered_at_s
        now_s = self._now_s()
        if now_s - answered_at_s > self._patience_s:
            self._down(answered_at_s, now_s)
        elif self._is_down and self._has_answered:
            self._is_down = False
            log.info("The hub's database answers again")
            if self._was_sent:
                self._closing, self._next_at_s = self._message(Occasion.CLOSED, now_s), now_s
        if self._closing and now_s >= self._next_at_s and self._tell(self._closing, now_s):
            self._closing = None
            self._forget()

    def _down(self, answered_at_s: float, now_s: float) -> None:
        if not self._is_down:
            self._is_down, self._was_sent = True, False
            # Nobody need hear that it was back, if it was back for a moment.
            self._closing = None
            self._since_s = self._next_at_s = answered_at_s
            self._since = datetime.now(UTC) - timedelta(seconds=now_s - answered_at_s)
        if now_s < self._next_at_s:
            return
        log.error(
            "The hub's database %s since %s: no alert is sent until it does",
            f"has taken no writes ({self._refuses})" if self._refuses else "has not answered",
            f"{self._since:%H:%M:%S} UTC",
        )
        if self._tell(self._message(Occasion.CONTINUES if self._was_sent else Occasion.OPENED, now_s), now_s):
            self._was_sent, self._next_at_s = True, now_s + _HOUR_S
            self._remember()

    def _remember(self) -> None:
        """Note what was sent. A disk that takes no file costs a message that comes twice, and no more."""
        if self._memory:
            with suppress(OSError):
                notice = _Notice(since=self._since, at=datetime.now(UTC))
                self._memory.write_bytes(msgspec.json.encode(notice))

    def _forget(self) -> None:
        if self._memory:
            with suppress(OSError):
                self._memory.unlink(missing_ok=True)

    def _resume(self) -> None:
        """Go on with an outage of which another process has sent a message, as if this one had."""
        try:
            notice = msgspec.json.decode(self._memory.read_bytes(), type=_Notice) if self._memory else None
        except (OSError, msgspec.MsgspecError):
            return
        if notice is None:
            return
        ago_s = max(0.0, (datetime.now(UTC) - notice.at).total_seconds())
        down_for_s = max(0.0, (datetime.now(UTC) - notice.since).total_seconds())
        self._is_down = self._was_sent = True
        self._since, self._since_s = notice.since, self._now_s() - down_for_s
        self._next_at_s = self._now_s() + max(0.0, _HOUR_S - ago_s)

    def _what_is_wrong(self) -> str:
        what = f"takes no writes ({self._refuses})" if self._refuses else "does not answer"
        return f"{what}: nothing is synced, delivered or sent"

    def _tell(self, message: AlertMessage, now_s: float) -> bool:
        if self._send is None:
            return True
        try:
            self._send(message)
        except Exception as error:  # noqa: BLE001  whatever it is, it is tried again; its text may name the secret of the URL
            log.warning("The last resort failed: %s. Trying again in %.0f s", type(error).__name__, _RETRY_S)
            self._next_at_s = now_s + _RETRY_S
            return False
        log.info("Sent over the last resort: %s", message.title)
        return True

    def _message(self, occasion: Occasion, now_s: float) -> AlertMessage:
        now = datetime.now(UTC)
        kind, is_over = kind_of(Kind.HUB_DATABASE_DOWN), occasion is Occasion.CLOSED
        text = "answers again" if is_over else self._what_is_wrong()
        cause = Cause(
            kind=Kind.HUB_DATABASE_DOWN,
            severity=Severity.CRITICAL,
            subject=_SUBJECT,
            message=f"{_SUBJECT} {text}",
            since=self._since,
            until=now if is_over else None,
            hub_does=kind.hub_does,
            next_step="" if is_over else kind.next_step,
            command="" if is_over else kind.command,
        )
        hour = int((now_s - self._since_s) // _HOUR_S)
        return AlertMessage(
            # The same when it is tried again.
            message_id=_id(self._hub, self._since.isoformat(), occasion.value, str(hour)),
            thread_id=_id(self._hub, Kind.HUB_DATABASE_DOWN),
            occasion=occasion,
            severity=Severity.CRITICAL,
            title=f"[{'closed' if is_over else 'critical'}] {self._hub}: {_SUBJECT} {text}",
            causes=(cause,),
            hub=self._hub,
            at=now,
        )


def _id(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
