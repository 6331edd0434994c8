"""Measure how long it takes from each cause to its message, on a stack of its own under load."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import quote

from crossdock.bench import report
from crossdock.bench.alerts import storms
from crossdock.bench.alerts.causes import CAUSES, LAST, Begun, Cause
from crossdock.bench.alerts.load import under_load
from crossdock.bench.alerts.outcome import AlertsOutcome, Storm, Timing
from crossdock.bench.alerts.receivers import Mailbox, TimedReceiver
from crossdock.bench.alerts.world import MISSING_AFTER_S, World, connect_shops, running_world, settings_of
from crossdock.bench.environment import environment
from crossdock.bench.interrupts import exit_on_signals
from crossdock.bench.report import Say
from crossdock.bench.sync.database import server_version
from crossdock.client.sandbox import SandboxControl
from crossdock.core.errors import HubError
from crossdock.core.log import logger
from crossdock.db.database import Store
from crossdock.observability.alerts import Kind

log = logger(__name__)

_HOOK, _MAIL = "bench_hook", "mail_server"
_RECIPIENT = "on-call@bench.example"
_LOOK_EVERY_S = 0.25


@dataclass
class _Awaited:
    """A cause, and what came of it so far."""

    kind: Kind
    cause: Cause
    begun: Begun
    #: No message before it counts: there may be an earlier one.
    asked_at: float
    since: float | None = None
    at_once: float | None = None
    by_default: float | None = None
    is_shown: bool = False

    @property
    def is_notified(self) -> bool:
        return (
            self.since is not None and self.at_once is not None and (self.by_default is not None or self.kind in LAST)
        )


@dataclass
class _Watch:
    """Looks for causes that come with time, and for the messages of all."""

    world: World
    receiver: TimedReceiver
    mailbox: Mailbox
    last_resort: TimedReceiver
    #: A connection of its own: the one of the causes may have a transaction open.
    store: Store
    awaited: list[_Awaited] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        """Look all the time: to bring about a cause takes long, and the messages of others come meanwhile."""
        while not self._is_over.wait(_LOOK_EVERY_S):
            try:
                self._look()
            except HubError as error:
                log.info("The watch goes on: %s", error)

    def _look(self) -> None:
        self.mailbox.look()
        for each in list(self.awaited):
            if each.since is None:
                # The database may be what is down; a cause that is asked of it keeps no other from being seen.
                with suppress(HubError):
                    each.since = each.begun.since(self.store.transaction)
            receiver = self.last_resort if each.kind in LAST else self.receiver
            each.at_once = each.at_once or receiver.notified(each.kind, each.begun.subject, each.asked_at)
            each.by_default = each.by_default or self.mailbox.notified(each.kind, each.begun.subject, each.asked_at)
            if each.is_notified and not each.is_shown:
                each.is_shown = True
                timing = _timing(each)
                self.world.say(f"    {each.kind}: {timing.in_words}")

    def wait(self, until: float) -> None:
        while time.time() < until and not all(each.is_notified for each in self.awaited):
            time.sleep(_LOOK_EVERY_S)


def measure(command: str, say: Say, only: Collection[str] = ()) -> AlertsOutcome:
    """
    Bring about each kind, or *only* some, and note when its receivers were notified.

    Raises:
        StackError: the stack did not start.

    """
    with _own_home() as home, TimedReceiver() as receiver, TimedReceiver() as last_resort:
        url = last_resort.url.replace("http://", f"http://{quote(last_resort.secret, safe='')}@")
        with environment(settings_of(home, f"{url}/last")), running_world(home, say, connect_shops) as world:
            _add_routes(world, receiver)
            postgres = server_version(world.stack.hub_dsn)
            mailbox = Mailbox(SandboxControl(world.stack.mail_server_url), _RECIPIENT)
            watch = _Watch(world, receiver, mailbox, last_resort, world.undo.enter_context(world.store.another()))
            began = time.monotonic()
            with under_load(world) as done, _Busiest() as busiest, watch:
                _bring_about(world, watch, [kind for kind in CAUSES if not only or kind in only])
                found = () if only else _storms(world, watch)
                _bring_about_last(world, watch, [kind for kind in LAST if not only or kind in only])
            return AlertsOutcome(
                setup=report.setup(command, postgres),
                kinds=tuple(_timing(each) for each in watch.awaited),
                storms=found,
                seconds=time.monotonic() - began,
                syncs=done.syncs,
                webhooks=done.webhooks,
                load_average=busiest.load_average,
            )


def _add_routes(world: World, receiver: TimedReceiver) -> None:
    world.add_integration(_HOOK, "signed_webhook", {"url": receiver.url}, {"secret": receiver.secret})
    hub = world.hub()
    hub.post("/alert-routes", {"name": "at-once", "integration": _HOOK, "digest_over": None})
    hub.post("/alert-routes", {"name": "by-default", "integration": _MAIL, "recipients": [_RECIPIENT]})


def _bring_about(world: World, watch: _Watch, kinds: Collection[Kind]) -> None:
    for kind in kinds:
        if kind not in LAST:
            _begin(world, watch, kind)
    world.say("waiting for the messages that are missing")
    watch.wait(time.time() + _longest_wait_s(watch))


def _longest_wait_s(watch: _Watch) -> float:
    """Wait for a breaker, which counts after five minutes."""
    is_awaited = any(each.kind is Kind.BREAKER_OPEN for each in watch.awaited)
    return MISSING_AFTER_S + (300.0 if is_awaited else 0.0)


def _bring_about_last(world: World, watch: _Watch, kinds: Collection[Kind]) -> None:
    for kind in kinds:
        _begin(world, watch, kind)
        watch.wait(time.time() + MISSING_AFTER_S)


def _begin(world: World, watch: _Watch, kind: Kind) -> None:
    cause, asked_at = CAUSES[kind], time.time()
    world.say(f"{kind}: {cause.how}")
    try:
        begun = cause.bring_about(world)
    except Exception as error:  # noqa: BLE001  one that cannot be brought about says nothing of the others
        world.say(f"{kind} could not be brought about: {type(error).__name__}: {error}")
        begun = Begun("", lambda _: None)
    watch.awaited.append(_Awaited(kind, cause, begun, asked_at))


def _storms(world: World, watch: _Watch) -> tuple[Storm, ...]:
    # What is paused, or held open, would keep the failures from coming.
    world.undo.close()
    return tuple(storm(world, watch.receiver, watch.mailbox) for storm in storms.STORMS)


def _timing(each: _Awaited) -> Timing:
    def seconds(at: float | None) -> float | None:
        return None if at is None or each.since is None else max(0.0, at - each.since)

    return Timing(
        kind=each.kind,
        how=each.cause.how,
        at_once_s=seconds(each.at_once),
        by_default_s=seconds(each.by_default),
        has_route=each.kind not in LAST,
    )


class _Busiest:
    """Notes the highest load average while the block runs."""

    def __init__(self) -> None:
        self.load_average = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(1.0):
            self.load_average = max(self.load_average, os.getloadavg()[0])


@contextmanager
def _own_home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="crossdock-bench-alerts-", dir=os.environ.get("HUB_BENCH_HOME")))
    try:
        with exit_on_signals():
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
