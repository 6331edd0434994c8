"""Who gets the alerts of the measurement: a receiver that verifies each message and notes when it came, and a mailbox."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from crossdock.client.sandbox import SandboxControl
from crossdock.maintenance.alerting.model import Occasion
from crossdock.observability.alerts import Kind
from crossdock.sandbox.signed_webhook.verifier import FakeReceiver

_ENDED = Occasion.CLOSED
#: Over before anybody could hear of it, or before a digest is sent: then one message says that it began and ended.
_MAY_BE_OVER = frozenset({Kind.SENDER_AWAY, Kind.RUN_LATE})


class Arrival(NamedTuple):
    """What a message said of one cause, and when it came (seconds since 1970)."""

    kind: str
    subject: str
    occasion: str
    at: float

    @property
    def is_opened(self) -> bool:
        return self.occasion == Occasion.OPENED


class TimedReceiver(FakeReceiver):
    """A receiver of signed webhooks. A message that comes again counts once, as it did first."""

    def keep(self, message: dict[str, Any]) -> None:
        super().keep({**message, "at": time.time()})

    def received(self) -> Iterator[Arrival]:
        """List what has come, in its order."""
        for message in self.inbox:
            data = message["body"]["data"]
            for cause in data["causes"]:
                yield Arrival(cause["kind"], cause["subject"], data["occasion"], message["at"])

    def notified(self, kind: str, subject: str, since: float) -> float | None:
        """Find when the first message came that a cause began, after *since*; *subject* may have wildcards."""
        return next(
            (
                arrival.at
                for arrival in self.received()
                if arrival.kind == kind and arrival.at >= since
                if arrival.occasion != _ENDED or kind in _MAY_BE_OVER
                if fnmatchcase(arrival.subject, subject)
            ),
            None,
        )


class Mailbox:
    """The mails of one recipient. The server notes no time, so that of a mail is when it was first seen."""

    def __init__(self, server: SandboxControl, recipient: str) -> None:
        self._server, self._recipient = server, recipient
        self.mails: list[tuple[float, dict[str, str]]] = []

    def look(self) -> None:
        """Take what is new."""
        ours = [mail for mail in self._server.mails() if mail["to"] == self._recipient]
        self.mails += [(time.time(), mail) for mail in ours[len(self.mails) :]]

    def notified(self, kind: str, subject: str, since: float) -> float | None:
        """Find when the first mail came that a cause began, as `TimedReceiver.notified`."""
        return next(
            (
                at
                for at, mail in self.mails
                if at >= since and (kind in _MAY_BE_OVER or not mail["subject"].startswith(f"[{_ENDED}]"))
                if any(_is_about(line, kind, subject) for line in mail["text"].splitlines())
            ),
            None,
        )


def _is_about(line: str, kind: str, subject: str) -> bool:
    """Check whether *line* is the heading of a cause: `warning: shop.orders (run_failed)`."""
    return fnmatchcase(line, f"*: {subject} ({kind})")
