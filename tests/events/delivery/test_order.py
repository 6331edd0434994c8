"""The versions of a record reach a handler in order, whoever wrote them and whoever delivers them."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

import pytest
from crossdock.db.database import Store, Work
from crossdock.events.delivery import PartitionAssignment
from crossdock.events.model import STOCK_CHANGED, Event
from crossdock.events.subscriber import Subscriber

from tests.events.worlds import Outside, delivery, eventually
from tests.shop import query
from tests.sync import test_batches as hub

IDS = [f"stock-{number:02d}" for number in range(6)]
TURNS = 40


def write(dsn: str, partition: str, offset: int, errors: list[BaseException]) -> None:
    """Every second version of each record, in batches of three; the other writer has the others."""
    try:
        with Store(dsn) as own:
            run = hub.begin(own, partition)
            for turn in range(TURNS):
                version = 2 * turn + offset
                chosen = [IDS[(turn + step) % len(IDS)] for step in range(3)]
                hub.load_again(own, run, [hub.stock(each, version) for each in chosen], turn)
            hub.end(own, run)
    except BaseException as error:  # noqa: BLE001  told to the test's own thread
        errors.append(error)


def told_of(
    dsn: str, store: Store, handlers: dict[str, Subscriber], told: list[tuple[str, int]], **how: object
) -> None:
    """All that two writers under leases of their own have published, delivered by two workers meanwhile."""
    errors: list[BaseException] = []
    writers = [
        threading.Thread(target=write, args=(dsn, partition, offset, errors))
        for offset, partition in enumerate(("all", "webhook:3"), start=1)
    ]
    with (
        delivery(dsn, handlers, assignment=PartitionAssignment(0, workers=2), **how),  # type: ignore[arg-type]
        delivery(dsn, handlers, assignment=PartitionAssignment(1, workers=2), **how),  # type: ignore[arg-type]
    ):
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
        (published,) = query(store, "SELECT count(*) FROM event")[0]
        eventually(lambda: len(told), published)
    assert errors == []


def out_of_order(told: Sequence[tuple[str, int]]) -> list[str]:
    by_key: dict[str, list[int]] = {}
    for key, version in told:
        by_key.setdefault(key, []).append(version)
    return [f"{key}: {seen}" for key, seen in by_key.items() if seen != sorted(set(seen))]


@pytest.mark.parametrize("where", ["in the hub", "outside"])
def test_versions_that_two_writers_brought_come_in_order_to_a_handler(store: Store, hub_dsn: str, where: str) -> None:
    """A sync and a webhook's pull meet in the same rows. Readers go by transaction, of which the older may write last."""
    told: list[tuple[str, int]] = []

    def apply(_: Work, events: Sequence[Event]) -> None:
        told.extend((event.partition_key, int(json.loads(event.data)["version"])) for event in events)

    outside = Outside()
    if where == "outside":
        told_of(hub_dsn, store, outside.handlers(), outside.told, fetcher=outside)
    else:
        told_of(hub_dsn, store, {"diary": Subscriber(types=(STOCK_CHANGED,), apply=apply)}, told)

    assert len(told or outside.told) > TURNS
    assert out_of_order(told or outside.told) == []
