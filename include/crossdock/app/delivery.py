"""The background tasks of a delivery worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from crossdock.app.replays import EXECUTORS
from crossdock.db.database import Store
from crossdock.events.delivery import Background
from crossdock.events.delivery.replay_worker import ReplayWorker
from crossdock.events.subscriber import Subscriber
from crossdock.maintenance.housekeeping import Housekeeping, HousekeepingConfig


def background_tasks(
    open_store: Callable[[], Store],
    subscribers: Mapping[str, Subscriber],
    *,
    housekeeping: HousekeepingConfig | None = None,
) -> Mapping[str, Background]:
    """Compose housekeeping and replays, each with a connection of its own."""
    config = housekeeping or HousekeepingConfig()
    return {
        "Housekeeping": lambda is_over: Housekeeping(open_store(), config, subscribers, is_over),
        "Replays": lambda is_over: ReplayWorker(open_store(), subscribers, is_over, EXECUTORS),
    }
