"""What docs/how-to/add-a-subscriber.md says of a new subscriber is all that it takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from crossdock.db.database import Store
from crossdock.events.model import STOCK_CHANGED, NewEvent
from crossdock.events.replay import service as replay_service
from crossdock.events.store import Selection
from crossdock.events.subscriber import Subscriber
from crossdock.integrations.attempts import service as attempts
from crossdock.integrations.attempts.model import Write
from tests.events.worlds import delivery, eventually, publish, stock
from tests.http.charging_server import A_DAY, ChargingServer
from tests.http.test_send import number_of
from tests.shop import query

DOCS = Path(__file__).parents[2] / "docs/how-to/add-a-subscriber.md"
IN_THE_HUB, OUTSIDE = 0, 1


def documented(example: int, services: object = None) -> dict[str, Subscriber]:
    """The subscriber of an example: its module as it stands there, and its line in a mapping of its own."""
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    module, line = blocks[2 * example : 2 * example + 2]
    names: dict[str, Any] = {}
    exec(module, names)  # noqa: S102  our own page
    handler = SimpleNamespace(**names)
    known = {"Subscriber": Subscriber, "STOCK_CHANGED": STOCK_CHANGED, "sold_out": handler, "services": services}
    subscribers: dict[str, Subscriber] = eval(f"{{{line}}}", {**names, **known})  # noqa: S307  our own page
    return subscribers


def test_the_subscriber_of_the_docs_works_as_it_stands_there(store: Store, hub_dsn: str) -> None:
    """An example that is not run goes stale, and the first thing that a new engineer does fails."""
    publish(store, stock("CHAIR", 1, 0), stock("CHAIR", 2, 5), stock("RUG", 1, 0), stock("RUG", 2, 0))
    # LAMP is sold out in Lyon only, and SOFA in both warehouses, one after the other.
    publish(store, in_warehouse("LAMP", "lyon", 0), in_warehouse("LAMP", "nice", 4))
    publish(store, in_warehouse("SOFA", "lyon", 0), in_warehouse("SOFA", "nice", 0))

    with delivery(hub_dsn, documented(IN_THE_HUB)):
        eventually(lambda: query(store, "SELECT count(*) FROM event_inbox WHERE subscriber = 'sold_out'"), [(8,)])

    opened = query(store, "SELECT kind, subject FROM alert WHERE closed_at IS NULL ORDER BY subject")
    assert opened == [("sold_out", "RUG"), ("sold_out", "SOFA")]


def in_warehouse(sku: str, warehouse: str, available: int) -> NewEvent:
    return stock(sku, 1, available, entry=f"{sku}-{warehouse}", supply_channel=warehouse)


@dataclass(frozen=True)
class ServicesOfTheExample:
    """`Services`, with the field that the example adds."""

    supplier: Supplier


class Supplier:
    """The service behind the example: it orders over HTTP, and logs each call that writes."""

    def __init__(self, dsn: str, server: ChargingServer) -> None:
        self._dsn, self._client = dsn, server.client()

    def order(self, sku: str, *, key: str) -> None:
        write = Write(
            integration="acme", action="order", key=key, method="POST", path="/orders", body=sku, key_rules=A_DAY
        )
        with Store(self._dsn) as own:
            attempts.send(own, self._client, write, number_of)


def test_an_effect_outside_the_hub_is_one_module_and_one_line(store: Store, hub_dsn: str) -> None:
    """It took ten files of the engine, which had one service by name. Now the handler is closed over what it needs."""
    with ChargingServer() as server:
        subscribers = documented(OUTSIDE, ServicesOfTheExample(Supplier(hub_dsn, server)))
        publish(store, stock("CHAIR", 1, 0), stock("RUG", 1, 5), stock("LAMP", 1, 0))
        with delivery(hub_dsn, subscribers):
            eventually(lambda: query(store, "SELECT count(*) FROM event_inbox WHERE subscriber = 'reorder'"), [(3,)])
            assert sorted(server.charges) == [b'"CHAIR"', b'"LAMP"']

            replay_service.request_events(store, Selection(), subscribers, rate=None, actor="cli:ada")
            eventually(lambda: query(store, "SELECT state, done, failed FROM event_replay"), [("done", 3, 0)])

    assert sorted(server.charges) == [b'"CHAIR"', b'"LAMP"'], "the replay ordered again"
    assert query(store, "SELECT action, outcome, count(*) FROM attempt GROUP BY 1, 2") == [("order", "done", 2)]
