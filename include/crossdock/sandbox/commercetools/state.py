"""The retailer's state: its shelves of resources, from a seed or a dataset, and the one way to change them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from crossdock.sandbox.commercetools.collection import Json, Row, Shelf
from crossdock.sandbox.commercetools.data import customers, inventory, orders, products
from crossdock.sandbox.commercetools.data.building_blocks import dice, retailer, spread, uuid
from crossdock.sandbox.commercetools.dataset import Dataset
from crossdock.sandbox.commercetools.entities import CUSTOMERS, ENTITIES, INVENTORY, ORDERS, PRODUCTS
from crossdock.sandbox.commercetools.problems import not_found, stale_version
from crossdock.sandbox.engine.clock import Clock

Flaws = dict[str, Callable[[Json], None]]


@dataclass(frozen=True)
class Size:
    """How much of everything there is at the start, and how much of it is wrong (1.0: one in a hundred)."""

    seed: int = 7
    inventory: int = 1000
    products: int = 300
    orders: int = 200
    customers: int = 100
    flaws: float = 1.0


class World:
    """
    Everything the retailer knows. The same size gives the same bytes.

    With a *dataset* the shop is that one: of the size only the seed counts, for what happens later, and
    nothing in it was made wrong. What is wrong there is the file's own.
    """

    def __init__(self, size: Size, dataset: Dataset | None = None) -> None:
        self.size = size if dataset is None else _size_of(dataset, size)
        self.clock = Clock()
        self.retailer = retailer(size.seed)
        #: Chance for what happens later: which stock moves, how far.
        self.dice = dice(size.seed, "life")
        self.shelves = {name: Shelf(entity.lookups) for name, entity in ENTITIES.items()}
        self._flawed: dict[str, dict[str, str]] = {name: {} for name in ENTITIES}
        if dataset is None:
            self._generate()
        else:
            for name, rows in dataset.rows.items():
                self.shelf(name).fill_rows(rows)

    def shelf(self, entity: str) -> Shelf:
        return self.shelves[entity]

    def flawed_ids(self, entity: str) -> dict[str, str]:
        """The rows that were made wrong, by id, with the name of the flaw. Later changes do not alter it."""
        return dict(self._flawed[entity])

    def get(self, entity: str, resource_id: str) -> Row:
        """
        Raises:
            VendorError: 404, there is none.

        """
        row = self.shelf(entity).get(resource_id)
        if row is None:
            raise not_found(f"ID '{resource_id}'")
        return row

    def create(self, entity: str, fields: Json) -> Row:
        """A new resource at version 1, now."""
        shelf = self.shelf(entity)
        with shelf.lock:
            now = self.clock.now()
            return shelf.put({"id": uuid(self.dice), "version": 1, "createdAt": now, "lastModifiedAt": now, **fields})

    def change(
        self,
        entity: str,
        resource_id: str,
        edit: Callable[[Json], Any],
        *,
        version: int | None = None,
        at: str | None = None,
    ) -> Row:
        """
        Applies *edit* to a copy of the document and keeps the copy, one version higher.

        An edit that alters nothing raises nothing, as with the vendor.

        Args:
            entity: The kind of resource.
            resource_id: Which one.
            edit: Changes the document it is given; if it raises, nothing has happened.
            version: The version it must have; None where any will do.
            at: The `lastModifiedAt` to give it; None means now.

        Raises:
            VendorError: 404 or 409, or what *edit* raises.

        """
        shelf = self.shelf(entity)
        with shelf.lock:
            row = self._expected(entity, resource_id, version)
            document = row.document
            edit(document)
            if document == row.document:
                return row
            document["version"] = row.version + 1
            document["lastModifiedAt"] = at or self.clock.now()
            return shelf.put(document)

    def delete(self, entity: str, resource_id: str, version: int) -> Row:
        """
        The resource as it was last.

        Raises:
            VendorError: 404 or 409.

        """
        shelf = self.shelf(entity)
        with shelf.lock:
            row = self._expected(entity, resource_id, version)
            shelf.remove(resource_id)
            return row

    def _expected(self, entity: str, resource_id: str, version: int | None) -> Row:
        row = self.get(entity, resource_id)
        if version is not None and version != row.version:
            raise stale_version(resource_id, version, row.version)
        return row

    def _generate(self) -> None:
        size, shop, seed = self.size, self.retailer, self.size.seed
        # Orders are made from the spotless products and customers: a flaw is the row's own.
        wares = list(products.products(dice(seed, "products"), size.products, shop))
        people = list(customers.customers(dice(seed, "customers"), size.customers))
        sold = list(orders.orders(dice(seed, "orders"), size.orders, shop, wares, people))
        stock = inventory.entries(dice(seed, "inventory"), size.inventory, shop)
        self._fill(INVENTORY.name, stock, size.inventory, inventory.FLAWS)
        self._fill(ORDERS.name, sold, size.orders, orders.FLAWS)
        self._fill(PRODUCTS.name, wares, size.products, products.FLAWS)
        self._fill(CUSTOMERS.name, people, size.customers, customers.FLAWS)

    def _fill(self, entity: str, documents: Iterable[Json], size: int, flaws: Flaws) -> None:
        at = spread(dice(self.size.seed, f"flaws/{entity}"), list(flaws), size, self.size.flaws)
        flawed: dict[str, str] = {}

        def made() -> Iterable[Json]:
            for number, document in enumerate(documents):
                if number in at:
                    flaws[at[number]](document)
                    flawed[document["id"]] = at[number]
                yield document

        self.shelf(entity).fill(made())
        self._flawed[entity] = flawed


def _size_of(dataset: Dataset, size: Size) -> Size:
    return replace(
        size,
        inventory=len(dataset.rows[INVENTORY.name]),
        products=len(dataset.rows[PRODUCTS.name]),
        orders=len(dataset.rows[ORDERS.name]),
        customers=len(dataset.rows[CUSTOMERS.name]),
        flaws=0,
    )
