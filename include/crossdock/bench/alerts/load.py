"""What the stack has to do meanwhile: syncs one after the other, and webhooks at a rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from crossdock.bench.alerts.world import SHOP, World
from crossdock.core.errors import HubError
from crossdock.core.log import logger

log = logger(__name__)

WEBHOOKS_PER_S = 10.0
_STREAMS = (f"{SHOP}.products", f"{SHOP}.inventory")
_AGAIN_S = 1.0


@dataclass
class Done:
    """What was done so far."""

    syncs: int = 0
    webhooks: int = 0
    #: What did not work, as where a cause has stopped it.
    failures: int = 0


@contextmanager
def under_load(world: World) -> Iterator[Done]:
    """Keep the stack busy until the block ends."""
    done, is_over = Done(), threading.Event()
    threads = [
        threading.Thread(target=_repeat, args=(work, done, is_over), daemon=True)
        for work in (lambda: _sync(world, done), lambda: _webhooks(world, done, is_over))
    ]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        is_over.set()
        for thread in threads:
            thread.join(60)


def _repeat(work: Callable[[], None], done: Done, is_over: threading.Event) -> None:
    while not is_over.is_set():
        try:
            work()
        except HubError as error:
            done.failures += 1
            log.info("The load goes on: %s", error)
            is_over.wait(_AGAIN_S)


def _sync(world: World, done: Done) -> None:
    for stream in _STREAMS:
        world.sandbox.live(stock_moves=50, price_changes=20)
        world.sync(stream, {"full": True})
        done.syncs += 1


def _webhooks(world: World, done: Done, is_over: threading.Event) -> None:
    """Report changes of stock, each of which fetches its record and has its event."""
    api, sandbox = world.api(), world.sandbox
    next_at = time.monotonic()
    while not is_over.is_set():
        (moved,) = sandbox.live(stock_moves=1)["inventory"]
        body = {"type": "inventory.changed", "sku": moved["sku"]}
        world.post_webhook(api, SHOP, body, world.webhook_key)
        done.webhooks += 1
        next_at = max(next_at + 1 / WEBHOOKS_PER_S, time.monotonic() - 1)
        is_over.wait(max(0.0, next_at - time.monotonic()))
