"""The background work of a worker of the delivery."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from crossdock.app.replays import EXECUTORS
from crossdock.db.database import Store
from crossdock.events.delivery import Background
from crossdock.events.delivery.replays import Replays
from crossdock.events.ports import KeyPuller
from crossdock.events.subscriber import Subscriber
from crossdock.maintenance.housekeeping import Housekeeping, Rules


def background_of(
    open_store: Callable[[], Store],
    subscribers: Mapping[str, Subscriber],
    *,
    rules: Rules | None = None,
    puller: KeyPuller | None = None,
) -> Mapping[str, Background]:
    """Housekeeping and replays, each with a connection of its own."""
    return {
        "Housekeeping": lambda is_over: Housekeeping(open_store(), rules or Rules(), subscribers, is_over),
        "Replays": lambda is_over: Replays(open_store(), subscribers, is_over, puller, EXECUTORS),
    }
