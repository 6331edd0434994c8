"""The versions of a record reach a subscriber in order, for all writers and all delivery workers."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

import pytest

from crossdock.db.database import Store, Work
from crossdock.events.delivery import PartitionAssignment
from crossdock.events.model import STOCK_CHANGED, Event
from crossdock.events.subscriber import Subscriber
from tests.events.worlds import ExternalSystem, delivery, eventually
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
    except BaseException as error:  # noqa: BLE001  reported to the test's own thread
        errors.append(error)


def deliver_published(
    dsn: str, store: Store, subscribers: dict[str, Subscriber], delivered: list[tuple[str, int]]
) -> None:
    """Publish by two writers under leases of their own while two workers deliver."""
    errors: list[BaseException] = []
    writers = [
        threading.Thread(target=write, args=(dsn, partition, offset, errors))
        for offset, partition in enumerate(("all", "webhook:3"), start=1)
    ]
    with (
        delivery(dsn, subscribers, assignment=PartitionAssignment(0, workers=2)),
        delivery(dsn, subscribers, assignment=PartitionAssignment(1, workers=2)),
    ):
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
        (published,) = query(store, "SELECT count(*) FROM event")[0]
        eventually(lambda: len(delivered), published)
    assert errors == []


def out_of_order(delivered: Sequence[tuple[str, int]]) -> list[str]:
    by_key: dict[str, list[int]] = {}
    for key, version in delivered:
        by_key.setdefault(key, []).append(version)
    return [f"{key}: {seen}" for key, seen in by_key.items() if seen != sorted(set(seen))]


@pytest.mark.parametrize("where", ["in the hub", "external"])
def test_versions_of_two_writers_reach_a_subscriber_in_order(store: Store, hub_dsn: str, where: str) -> None:
    """A sync and a webhook's fetch meet in the same rows. Consumers order by transaction, and the older one may write last."""
    delivered: list[tuple[str, int]] = []

    def apply(_: Work, events: Sequence[Event]) -> None:
        delivered.extend((event.partition_key, int(json.loads(event.data)["version"])) for event in events)

    external = ExternalSystem()
    if where == "external":
        deliver_published(hub_dsn, store, external.subscribers(), external.delivered)
    else:
        deliver_published(hub_dsn, store, {"diary": Subscriber(types=(STOCK_CHANGED,), apply=apply)}, delivered)

    assert len(delivered or external.delivered) > TURNS
    assert out_of_order(delivered or external.delivered) == []
