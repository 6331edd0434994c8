"""The shop's own life: stock moves, prices change, orders come in, on demand or every few seconds."""

import threading
from collections.abc import Callable
from typing import Any

from crossdock.sandbox.commercetools.collection import Json, Row
from crossdock.sandbox.commercetools.data import orders
from crossdock.sandbox.commercetools.entities import CUSTOMERS, INVENTORY, ORDERS, PRODUCTS
from crossdock.sandbox.commercetools.state import World

Changed = dict[str, list[Json]]


def live(
    world: World,
    *,
    stock_moves: int = 0,
    price_changes: int = 0,
    new_orders: int = 0,
    order_changes: int = 0,
    only_good: bool = True,
) -> Changed:
    """
    Changes that many distinct resources now.

    Args:
        world: Where.
        stock_moves: How many inventory entries get another quantity.
        price_changes: How many products get other prices.
        new_orders: How many orders come in.
        order_changes: How many orders, none of them new, get another order state and shipment state.
        only_good: Leave alone what was generated flawed.

    Returns:
        By kind of resource, what was changed: id, version, and key, sku or orderNumber where there is one.

    """
    stock = [_moved(world, i) for i in _picked(world, INVENTORY.name, stock_moves, only_good=only_good)]
    wares = [_repriced(world, i) for i in _picked(world, PRODUCTS.name, price_changes, only_good=only_good)]
    handled = [_handled(world, i) for i in _picked(world, ORDERS.name, order_changes, only_good=only_good)]
    sold = [_ordered(world) for _ in range(new_orders)]
    return {INVENTORY.name: _named(stock), PRODUCTS.name: _named(wares), ORDERS.name: _named(sold + handled)}


def late_update(world: World, entity: str, seconds: float) -> Row | None:
    """One row changes, with a `lastModifiedAt` that lies in the past: as of a transaction that committed late."""
    at = world.clock.ago(seconds)
    old = [row.id for row in world.shelf(entity).rows() if row.modified_at < at]
    if not old:
        return None
    edit = _move if entity == INVENTORY.name else _touch
    return world.change(entity, world.dice.choice(old), lambda document: edit(world, document), at=at)


def _picked(world: World, entity: str, count: int, *, only_good: bool) -> list[str]:
    ids = world.shelf(entity).ids()
    if only_good:
        flawed = world.flawed_ids(entity)
        ids = [i for i in ids if i not in flawed]
    return world.dice.sample(ids, min(count, len(ids)))


def _named(rows: list[Row]) -> list[Json]:
    names = ("id", "version", "lastModifiedAt", "key", "sku", "orderNumber")
    documents = [row.document for row in rows]
    return [{name: document[name] for name in names if name in document} for document in documents]


def _moved(world: World, resource_id: str) -> Row:
    return world.change(INVENTORY.name, resource_id, lambda entry: _move(world, entry))


def _move(world: World, entry: Json) -> None:
    on_stock, available = entry.get("quantityOnStock"), entry.get("availableQuantity")
    if not isinstance(on_stock, int) or not isinstance(available, int):
        _touch(world, entry)
        return
    step = world.dice.randrange(1, 20)
    if on_stock >= step and world.dice.random() < 0.7:  # noqa: PLR2004 - more is sold than comes in
        step = -step
    entry["quantityOnStock"] = on_stock + step
    entry["availableQuantity"] = max(min(available, 0), available + step)


def _touch(world: World, document: Json) -> None:
    """A change that leaves a flaw as it is, and custom fields that are there."""
    custom = document.get("custom") or {"type": {"typeId": "type", "id": world.retailer.product_type}, "fields": {}}
    custom["fields"]["touched"] = world.dice.getrandbits(32)
    document["custom"] = custom


def _repriced(world: World, resource_id: str) -> Row:
    def edit(product: Json) -> None:
        step = world.dice.randrange(10, 500)
        for price in product["masterVariant"]["prices"]:
            value = price["value"]
            value["centAmount"] += step
            if "preciseAmount" in value:
                value["preciseAmount"] += step * 10 ** (value["fractionDigits"] - 2)
        if not product["masterVariant"]["prices"]:
            product["description"] = {"en": f"Without a price, {step}."}

    return world.change(PRODUCTS.name, resource_id, edit)


def _handled(world: World, resource_id: str) -> Row:
    def edit(order: Json) -> None:
        before = order.get("orderState"), order.get("shipmentState")
        others = [(state, shipment) for state, _, shipment in orders.STATES if (state, shipment) != before]
        order["orderState"], order["shipmentState"] = world.dice.choice(others)

    return world.change(ORDERS.name, resource_id, edit)


def _ordered(world: World) -> Row:
    picked = [world.get(PRODUCTS.name, i).document for i in _picked(world, PRODUCTS.name, 5, only_good=True)]
    wares = [product for product in picked if orders.sellable(product)]
    people = [world.get(CUSTOMERS.name, i).document for i in _picked(world, CUSTOMERS.name, 1, only_good=True)]
    number = len(world.shelf(ORDERS.name))
    while world.shelf(ORDERS.name).find("orderNumber", f"ORD-{number:07d}"):
        number += 1
    made = orders.order(world.dice, number, world.retailer, wares, people)
    made |= {"orderState": "Open", "paymentState": "Pending", "shipmentState": "Pending"}
    own = ("id", "version", "createdAt", "lastModifiedAt")
    return world.create(ORDERS.name, {name: value for name, value in made.items() if name not in own})


class Life:
    """A life that goes on by itself, in one thread."""

    def __init__(self, world: Callable[[], World]) -> None:
        self._world = world
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self._thread is not None

    def start(self, every_s: float, **changes: Any) -> None:
        """Changes as `live` does, every *every_s* seconds until `stop`; in place of any that runs."""
        self.stop()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._stop, every_s, changes), name="sandbox-life", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._thread = None

    def _run(self, stop: threading.Event, every_s: float, changes: dict[str, Any]) -> None:
        while not stop.wait(every_s):
            live(self._world(), **changes)
