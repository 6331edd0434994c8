"""The retailer's data: its collections of resources, from a seed or a dataset, and the one way to change them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from crossdock.sandbox.commercetools.collection import Collection, Json, Row
from crossdock.sandbox.commercetools.data import customers, inventory, orders, prices, products
from crossdock.sandbox.commercetools.data.building_blocks import (
    choose_flaws,
    random_for,
    shared_references,
    uuid,
)
from crossdock.sandbox.commercetools.dataset import Dataset
from crossdock.sandbox.commercetools.entities import CUSTOMERS, ENTITIES, INVENTORY, ORDERS, PRICES, PRODUCTS
from crossdock.sandbox.commercetools.problems import not_found, stale_version
from crossdock.sandbox.engine.clock import Clock

Flaws = dict[str, Callable[[Json], None]]


@dataclass(frozen=True)
class Size:
    """How many resources of each kind there are at the start, and how many have a flaw (1.0: one in a hundred)."""

    seed: int = 7
    inventory: int = 1000
    products: int = 300
    orders: int = 200
    customers: int = 100
    flaws: float = 1.0


class RetailerState:
    """
    All data of the retailer. The same size gives the same bytes.

    With a *dataset* the data is the file's: of the size only the seed is used, for later changes, and no flaws are
    added to those that the file has.
    """

    def __init__(self, size: Size, dataset: Dataset | None = None) -> None:
        self.size = size if dataset is None else _size_of(dataset, size)
        self.clock = Clock()
        self.references = shared_references(size.seed)
        #: Decides later changes: which stock moves, and how far.
        self.random = random_for(size.seed, "life")
        self.collections = {name: Collection(entity.lookups) for name, entity in ENTITIES.items()}
        self._flawed: dict[str, dict[str, str]] = {name: {} for name in ENTITIES}
        if dataset is None:
            self._generate()
        else:
            for name, rows in dataset.rows.items():
                self.collection(name).fill_rows(rows)

    def collection(self, entity: str) -> Collection:
        return self.collections[entity]

    def flawed_ids(self, entity: str) -> dict[str, str]:
        """Map the rows that were generated with a flaw to its name, by ID. Later changes do not alter the result."""
        return dict(self._flawed[entity])

    def get(self, entity: str, resource_id: str) -> Row:
        """
        Find a row by its ID.

        Raises:
            VendorError: 404, it does not exist.

        """
        row = self.collection(entity).get(resource_id)
        if row is None:
            raise not_found(f"ID '{resource_id}'")
        return row

    def create(self, entity: str, fields: Json) -> Row:
        """Add a resource at version 1, created now."""
        collection = self.collection(entity)
        with collection.lock:
            now = self.clock.now()
            own = {"id": uuid(self.random), "version": 1, "createdAt": now, "lastModifiedAt": now}
            return collection.put({**own, **fields})

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
        Apply *edit* to a copy of the document and store the copy, one version higher.

        As with the vendor, an edit that alters nothing does not increase the version.

        Args:
            entity: The kind of resource.
            resource_id: The resource to change.
            edit: Changes the document in place; if it raises, nothing is stored.
            version: The version that the resource must have; None accepts any (optimistic concurrency).
            at: The `lastModifiedAt` to set; None means now.

        Raises:
            VendorError: 404 or 409, or what *edit* raises.

        """
        collection = self.collection(entity)
        with collection.lock:
            row = self._expect(entity, resource_id, version)
            document = row.document
            edit(document)
            if document == row.document:
                return row
            document["version"] = row.version + 1
            document["lastModifiedAt"] = at or self.clock.now()
            return collection.put(document)

    def delete(self, entity: str, resource_id: str, version: int) -> Row:
        """
        Remove a resource; returns it as it was last.

        Raises:
            VendorError: 404 or 409.

        """
        collection = self.collection(entity)
        with collection.lock:
            row = self._expect(entity, resource_id, version)
            collection.remove(resource_id)
            return row

    def _expect(self, entity: str, resource_id: str, version: int | None) -> Row:
        row = self.get(entity, resource_id)
        if version is not None and version != row.version:
            raise stale_version(resource_id, version, row.version)
        return row

    def _generate(self) -> None:
        size, references, seed = self.size, self.references, self.size.seed
        # Orders are made from the flawless products and customers: a flaw stays in its own row.
        made_products = list(products.products(random_for(seed, "products"), size.products, references))
        made_customers = list(customers.customers(random_for(seed, "customers"), size.customers))
        sold = [product for product in made_products if products.is_sold(product)]
        made_orders = list(orders.orders(random_for(seed, "orders"), size.orders, references, sold, made_customers))
        entries = inventory.entries(random_for(seed, "inventory"), size.inventory, references)
        self._fill(INVENTORY.name, entries, size.inventory, inventory.FLAWS)
        self._fill(ORDERS.name, made_orders, size.orders, orders.FLAWS)
        made_prices = list(prices.standalone(random_for(seed, "prices"), made_products, references))
        self._fill(PRICES.name, made_prices, len(made_prices), prices.FLAWS)
        self._fill(PRODUCTS.name, made_products, size.products, products.FLAWS, products.with_staged_changes)
        self._fill(CUSTOMERS.name, made_customers, size.customers, customers.FLAWS)

    def _fill(
        self,
        entity: str,
        documents: Iterable[Json],
        size: int,
        flaws: Flaws,
        finish: Callable[[Iterable[Json]], Iterable[Json]] = iter,
    ) -> None:
        flaw_at = choose_flaws(random_for(self.size.seed, f"flaws/{entity}"), list(flaws), size, self.size.flaws)
        flawed: dict[str, str] = {}

        def with_flaws() -> Iterator[Json]:
            for number, document in enumerate(documents):
                if number in flaw_at:
                    flaws[flaw_at[number]](document)
                    flawed[document["id"]] = flaw_at[number]
                yield document

        self.collection(entity).fill(finish(with_flaws()))
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
