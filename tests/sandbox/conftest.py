"""A shop that no test changes, and a fresh one for each test that does; both on real sockets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.test_client import RetailerClient
from tests.sandbox.commercetools import invoice_lines


@pytest.fixture(scope="session")
def still_shop() -> Iterator[FakeRetailer]:
    """A shop that no test changes."""
    with FakeRetailer(seed=7, inventory=1200, products=120, orders=120, customers=120) as shop:
        yield shop


@pytest.fixture(scope="session")
def reader(still_shop: FakeRetailer) -> RetailerClient:
    client = RetailerClient(still_shop.port)
    client.log_in()
    return client


@pytest.fixture
def shop() -> Iterator[FakeRetailer]:
    """A shop of the test's own, without flaws."""
    with FakeRetailer(seed=3, inventory=60, products=12, orders=6, customers=6, flaws=0) as shop:
        yield shop


@pytest.fixture
def client(shop: FakeRetailer) -> RetailerClient:
    client = RetailerClient(shop.port)
    client.log_in()
    shop.requests.clear()
    return client


@pytest.fixture
def real_shop(tmp_path: Path) -> Iterator[FakeRetailer]:
    """A shop from a small file with all the flaws of a real one."""
    with FakeRetailer(dataset=invoice_lines.write(tmp_path / "lines.parquet")) as shop:
        yield shop


@pytest.fixture
def real(real_shop: FakeRetailer) -> RetailerClient:
    """A client of the shop from a file."""
    client = RetailerClient(real_shop.port)
    client.log_in()
    return client
