"""The simulated business: stock moves, prices change, orders come in, on demand or every few seconds."""

import threading
from collections.abc import Callable
from typing import Any

from crossdock.sandbox.commercetools.collection import Json, Row
from crossdock.sandbox.commercetools.data import orders, products
from crossdock.sandbox.commercetools.entities import CUSTOMERS, INVENTORY, ORDERS, PRODUCTS
from crossdock.sandbox.commercetools.state import RetailerState

#: The counts that `simulate` takes.
CHANGES = ("stock_moves", "price_changes", "new_orders", "order_changes")

Changed = dict[str, list[Json]]


def simulate(
    state: RetailerState,
    *,
    stock_moves: int = 0,
    price_changes: int = 0,
    new_orders: int = 0,
    order_changes: int = 0,
    only_good: bool = True,
) -> Changed:
    """
    Change that many distinct resources, now.

    Args:
        state: The data to change.
        stock_moves: How many inventory entries get another quantity.
        price_changes: How many products get other prices.
        new_orders: How many orders come in.
        order_changes: How many of the existing orders get another order state and shipment state.
        only_good: Leave out the resources that were generated with a flaw.

    Returns:
        The changed resources by kind: ID, version, and key, sku or orderNumber if there is one.

    """
    moved = [_move_stock(state, i) for i in _pick(state, INVENTORY.name, stock_moves, only_good=only_good)]
    repriced = [_change_prices(state, i) for i in _pick(state, PRODUCTS.name, price_changes, only_good=only_good)]
    advanced = [_change_states(state, i) for i in _pick(state, ORDERS.name, order_changes, only_good=only_good)]
    placed = [_place_order(state) for _ in range(new_orders)]
    state.clock.catch_up()
    return {
        INVENTORY.name: _summaries(moved),
        PRODUCTS.name: _summaries(repriced),
        ORDERS.name: _summaries(placed + advanced),
    }


def late_update(state: RetailerState, entity: str, seconds: float) -> Row | None:
    """Change one row with a `lastModifiedAt` in the past, as a transaction does that commits late."""
    at = state.clock.ago(seconds)
    old = [row.id for row in state.collection(entity).rows() if row.modified_at < at]
    if not old:
        return None
    edit = _edit_stock if entity == INVENTORY.name else _touch
    return state.change(entity, state.random.choice(old), lambda document: edit(state, document), at=at)


def _pick(state: RetailerState, entity: str, count: int, *, only_good: bool) -> list[str]:
    ids = state.collection(entity).ids()
    if only_good:
        flawed = state.flawed_ids(entity)
        ids = [i for i in ids if i not in flawed]
    return state.random.sample(ids, min(count, len(ids)))


def _summaries(rows: list[Row]) -> list[Json]:
    names = ("id", "version", "lastModifiedAt", "key", "sku", "orderNumber")
    documents = [row.document for row in rows]
    return [{name: document[name] for name in names if name in document} for document in documents]


def _move_stock(state: RetailerState, resource_id: str) -> Row:
    return state.change(INVENTORY.name, resource_id, lambda entry: _edit_stock(state, entry))


def _edit_stock(state: RetailerState, entry: Json) -> None:
    on_stock, available = entry.get("quantityOnStock"), entry.get("availableQuantity")
    if not isinstance(on_stock, int) or not isinstance(available, int):
        _touch(state, entry)
        return
    step = state.random.randrange(1, 20)
    if on_stock >= step and state.random.random() < 0.7:  # noqa: PLR2004 - more is sold than delivered
        step = -step
    entry["quantityOnStock"] = on_stock + step
    entry["availableQuantity"] = max(min(available, 0), available + step)


def _touch(state: RetailerState, document: Json) -> None:
    """Change the document without repairing its flaw or removing its custom fields."""
    custom = document.get("custom") or {"type": {"typeId": "type", "id": state.references.product_type}, "fields": {}}
    custom["fields"]["touched"] = state.random.getrandbits(32)
    document["custom"] = custom


def _change_prices(state: RetailerState, resource_id: str) -> Row:
    def edit(product: Json) -> None:
        step = state.random.randrange(10, 500)
        shown = products.shown(product)
        prices = shown.get("masterVariant", {}).get("prices", [])
        for price in prices:
            value = price["value"]
            value["centAmount"] += step
            if "preciseAmount" in value:
                value["preciseAmount"] += step * 10 ** (value["fractionDigits"] - 2)
        if not prices:
            shown["description"] = {"en": f"Without a price, {step}."}

    return state.change(PRODUCTS.name, resource_id, edit)


def _change_states(state: RetailerState, resource_id: str) -> Row:
    def edit(order: Json) -> None:
        before = order.get("orderState"), order.get("shipmentState")
        others = [(name, shipment) for name, _, shipment in orders.STATES if (name, shipment) != before]
        order["orderState"], order["shipmentState"] = state.random.choice(others)

    return state.change(ORDERS.name, resource_id, edit)


def _place_order(state: RetailerState) -> Row:
    picked = [
        products.projection(state.get(PRODUCTS.name, i).document)
        for i in _pick(state, PRODUCTS.name, 5, only_good=True)
    ]
    sold = [product for product in picked if products.is_sold(product) and orders.is_sellable(product)]
    customers = [state.get(CUSTOMERS.name, i).document for i in _pick(state, CUSTOMERS.name, 1, only_good=True)]
    number = len(state.collection(ORDERS.name))
    while state.collection(ORDERS.name).find("orderNumber", f"ORD-{number:07d}"):
        number += 1
    order = orders.order(state.random, number, state.references, sold, customers)
    order |= {"orderState": "Open", "paymentState": "Pending", "shipmentState": "Pending"}
    own = ("id", "version", "createdAt", "lastModifiedAt")
    return state.create(ORDERS.name, {name: value for name, value in order.items() if name not in own})


class Simulation:
    """Changes the data automatically every few seconds, in one thread."""

    def __init__(self, state: Callable[[], RetailerState]) -> None:
        self._state = state
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self._thread is not None

    def start(self, every_s: float, **changes: Any) -> None:
        """Call `simulate` every *every_s* seconds until `stop`; replaces what runs already."""
        self.stop()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._stop, every_s, changes), name="sandbox-simulation", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._thread = None

    def _run(self, stop: threading.Event, every_s: float, changes: dict[str, Any]) -> None:
        while not stop.wait(every_s):
            simulate(self._state(), **changes)
