"""Receivers of alerts: what each got, in the order in which it came, and how it fails on demand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec

from crossdock.core.errors import BadRequest, HubError
from crossdock.db.database import Store
from crossdock.http.config import SafeguardsFactory
from crossdock.http.connection import Connection
from crossdock.maintenance.alerting import repository
from crossdock.maintenance.alerting.model import AlertMessage
from crossdock.maintenance.alerting.routes import Route
from crossdock.maintenance.alerting.sender import AlertSender, SenderConfig

HUB = "the test hub"


class Receiver:
    """A channel whose receiver keeps what it gets in a file, so that it outlives a sender that is killed."""

    takes_recipients: ClassVar[bool] = True
    knows_repetitions: ClassVar[bool] = True

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self._file = name, folder / f"{name}.jsonl"
        #: Raised by the next calls, one each; None for a call that succeeds.
        self.failures: list[HubError | None] = []
        self.is_down: HubError | None = None
        self.does_not_open: Exception | None = None
        #: What somebody else does while a message is on its way.
        self.meanwhile: Callable[[], None] = lambda: None

    @classmethod
    def of(cls, integration: str, connection: Connection, share: SafeguardsFactory | None) -> Self:
        raise NotImplementedError

    def check_recipient(self, recipient: str) -> None:
        if "@" not in recipient:
            raise BadRequest(f"{recipient!r} is no address")

    def send(self, message: AlertMessage, recipients: Sequence[str]) -> None:
        self.meanwhile()
        failure = self.failures.pop(0) if self.failures else self.is_down
        if failure:
            raise failure
        with self._file.open("a") as file:
            file.write(json.dumps({**msgspec.to_builtins(message), "to": list(recipients)}) + "\n")

    @property
    def every(self) -> list[dict[str, Any]]:
        """All that came, also what came twice."""
        return [json.loads(line) for line in self._file.read_text().splitlines()] if self._file.exists() else []

    @property
    def got(self) -> list[dict[str, Any]]:
        """What came, each message once, by its ID."""
        return list({message["message_id"]: message for message in reversed(self.every)}.values())[::-1]

    @property
    def titles(self) -> list[str]:
        return [message["title"] for message in self.got]


class Receivers:
    """One receiver for each integration that a route names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Receiver] = {}

    def __getitem__(self, name: str) -> Receiver:
        return self._known.setdefault(name, Receiver(name, self._folder))

    def open(self, name: str) -> Receiver:
        """Open a channel, as the sender does."""
        receiver = self[name]
        if receiver.does_not_open:
            raise receiver.does_not_open
        return receiver


def add_route(store: Store, name: str = "ops", **changes: Any) -> Route:
    """Add a route over the integration of its name, with each message for itself."""
    route = Route.model_validate({"name": name, "integration": name, "digest_over": None, **changes})
    with store.transaction() as work:
        repository.save_route(work, route, declared_in=None)
    return route


@contextmanager
def sender(store: Store, receivers: Receivers, **options: Any) -> Iterator[AlertSender]:
    config = options.pop("config", SenderConfig(hub=HUB))
    opened = AlertSender(store.another(), lambda _store: receivers.open, config, **options)
    try:
        yield opened
    finally:
        opened.close()


def work_once(sending: AlertSender) -> None:
    """One round, until each channel has sent what was due."""
    with ThreadPoolExecutor() as pool:
        sending.work(pool)
        sending.wait()


def send_due(store: Store, receivers: Receivers) -> None:
    """Plan and send as a sender does that has just started."""
    with sender(store, receivers) as sending:
        work_once(sending)
