"""Tell that the hub's database does not answer: over a last resort, which needs nothing of the hub."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from crossdock.core.log import logger
from crossdock.maintenance.alerting.kinds import kind_of
from crossdock.maintenance.alerting.model import AlertMessage, Cause, Occasion, Severity
from crossdock.observability.alerts import Kind

log = logger(__name__)

_SUBJECT = "the hub's database"
#: Longer than any transaction of the sender takes on a busy machine.
PATIENCE = timedelta(seconds=30)
_HOUR = timedelta(hours=1)
_RETRY = timedelta(seconds=15)
_LOOK_EVERY_S = 1.0


class DatabaseWatch:
    """
    Watches how long ago the database has answered, and tells once an hour while it does not, and once when it does again.

    It asks nobody: a server that hangs answers no question. So the sender says when it had an answer.

    Args:
        hub: The name of the installation.
        send: Sends over the last resort; None if there is none.
        patience: For how long no answer is no reason to tell anybody.
        clock: Tells the time.

    """

    def __init__(
        self,
        hub: str,
        send: Callable[[AlertMessage], None] | None,
        *,
        patience: timedelta = PATIENCE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._hub, self._send, self._patience, self._now = hub, send, patience, clock
        self._answered_at = self._now()
        self._is_down = False
        self._since = self._answered_at
        #: When the next message of this outage is due.
        self._next_at = self._answered_at
        #: The closing message, until it is sent.
        self._closing: AlertMessage | None = None
        self._was_sent = False

    def answered(self) -> None:
        """Note that the database has answered."""
        self._answered_at = self._now()

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
        now, answered_at = self._now(), self._answered_at
        if now - answered_at > self._patience:
            self._down(answered_at, now)
        elif self._is_down:
            self._is_down = False
            log.info("The hub's database answers again")
            if self._was_sent:
                self._closing, self._next_at = self._message(Occasion.CLOSED, now), now
        if self._closing and now >= self._next_at:
            self._closing = None if self._tell(self._closing, now) else self._closing

    def _down(self, answered_at: datetime, now: datetime) -> None:
        if not self._is_down:
            self._is_down, self._was_sent = True, False
            # Nobody need hear that it was back, if it was back for a moment.
            self._closing = None
            self._since = self._next_at = answered_at
        if now < self._next_at:
            return
        log.error(
            "The hub's database has not answered since %s: no alert is sent until it does",
            f"{answered_at:%H:%M:%S} UTC",
        )
        if self._tell(self._message(Occasion.CONTINUES if self._was_sent else Occasion.OPENED, now), now):
            self._was_sent, self._next_at = True, now + _HOUR

    def _tell(self, message: AlertMessage, now: datetime) -> bool:
        if self._send is None:
            return True
        try:
            self._send(message)
        except Exception as error:  # noqa: BLE001  whatever it is, it is tried again; its text may name the secret of the URL
            log.warning(
                "The last resort failed: %s. Trying again in %.0f s", type(error).__name__, _RETRY.total_seconds()
            )
            self._next_at = now + _RETRY
            return False
        log.info("Sent over the last resort: %s", message.title)
        return True

    def _message(self, occasion: Occasion, now: datetime) -> AlertMessage:
        kind, is_over = kind_of(Kind.HUB_DATABASE_DOWN), occasion is Occasion.CLOSED
        text = "answers again" if is_over else "does not answer: nothing is synced, delivered or sent"
        cause = Cause(
            kind=Kind.HUB_DATABASE_DOWN,
            severity=Severity.CRITICAL,
            subject=_SUBJECT,
            message=f"{_SUBJECT} {text}",
            since=self._since,
            until=now if is_over else None,
            hub_does=kind.hub_does,
            next_step=kind.next_step,
            command=kind.command,
        )
        hour = (now - self._since) // _HOUR
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
