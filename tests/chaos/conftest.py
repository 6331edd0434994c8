"""A small shop whose sync has several ranges, pages and batches, so that there is a middle to be killed in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from crossdock.db.database import Store
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sync import Stream, Systems, extract, load, validate
from crossdock.sync.landing import Landing
from crossdock.sync.model import Report, SyncRequest
from crossdock.sync.validate_rows import validate_rows
from tests.shop import connect
from tests.streams import INVENTORY
from tests.sync.records import entry, page

FULL = SyncRequest(full=True)
#: Three batches of the shop's 120 stock levels.
SMALL: Stream = replace(INVENTORY, batch_records=40)


@dataclass
class Hub:
    """A shop, a hub database, and a sync between them; what a worker process has."""

    shop: FakeRetailer
    dsn: str
    folder: Path
    overlap: timedelta = timedelta(minutes=5)
    lease_life: timedelta = timedelta(seconds=60)
    #: Pages in flight at once; one where the order of pages matters.
    pages_in_flight: int = 4

    def systems(self, store: Store) -> Systems:
        return Systems(
            source=connect(self.shop, page_records=20),
            store=store,
            landing=Landing(str(self.folder)),
            overlap=self.overlap,
            lease_life=self.lease_life,
            pages_in_flight=self.pages_in_flight,
            pages_recorded_together=1,
        )

    def sync(self, request: SyncRequest, dag_run_id: str) -> Report:
        """All three tasks, in connections of their own, as a worker has them."""
        with Store(self.dsn) as store:
            systems = self.systems(store)
            run_id = validate(SMALL, systems, extract(SMALL, systems, request, dag_run_id=dag_run_id))
            return load(SMALL, systems, run_id)

    def load(self, run_id: str) -> Report:
        """The last task alone."""
        with Store(self.dsn) as store:
            return load(SMALL, self.systems(store), run_id)


@pytest.fixture(scope="session")
def _warm() -> None:
    """Great Expectations and its suite, loaded before the first child is forked."""
    validate_rows(SMALL, [page(entry(), entry(id="b", sku=""))])


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three ranges of forty records instead of one."""
    monkeypatch.setattr(sys.modules["crossdock.sync.ranges"], "_RECORDS_PER_RANGE", 40)


@pytest.fixture
def hub(hub_dsn: str, tmp_path: Path, _warm: None, small_ranges: None) -> Iterator[Hub]:  # noqa: ARG001  they prepare
    with FakeRetailer(seed=7, inventory=120, products=0, orders=0, customers=0, flaws=5) as shop:
        yield Hub(shop, hub_dsn, tmp_path / "landing")
