"""The background tasks of a delivery worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from crossdock.app.orders import OrderDriver
from crossdock.app.replays import EXECUTORS
from crossdock.db.database import Store
from crossdock.events.delivery import Background
from crossdock.events.delivery.replay_worker import ReplayWorker
from crossdock.events.subscriber import Subscriber
from crossdock.maintenance.housekeeping import Housekeeping, HousekeepingConfig

#: How often it is looked whether an order is due; one that is woken by its event does not wait for this.
_LOOK_EVERY_S = 0.5


class DueOrders:
    """A background thread of the first delivery worker: it takes up orders that no event wakes."""

    def __init__(self, orders: OrderDriver, is_over: Callable[[], bool]) -> None:
        self._orders, self._is_over = orders, is_over

    @property
    def over(self) -> bool:
        """True when it has to end."""
        return self._is_over()

    def run(self) -> None:
        """Take up what is due until shutdown."""
        while not self._is_over():
            if not self._orders.take_up_due():
                time.sleep(_LOOK_EVERY_S)

    def reset(self) -> None:
        """Leave it to the driver, which opens anew what is broken."""


def background_tasks(
    open_store: Callable[[], Store],
    subscribers: Mapping[str, Subscriber],
    *,
    housekeeping: HousekeepingConfig | None = None,
    orders: OrderDriver | None = None,
) -> Mapping[str, Background]:
    """Compose housekeeping, replays and the orders that are due, each with a connection of its own."""
    config = housekeeping or HousekeepingConfig()
    due: dict[str, Background] = {"Due orders": partial(DueOrders, orders)} if orders else {}
    return due | {
        "Housekeeping": lambda is_over: Housekeeping(open_store(), config, subscribers, is_over),
        "Replays": lambda is_over: ReplayWorker(open_store(), subscribers, is_over, EXECUTORS),
    }
