"""A shop that stays as it is, and one for each test to ruin; both on real sockets."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from crossdock.sandbox.commercetools.test_client import Visitor
from crossdock.sandbox.engine.server import Sandbox

from tests.sandbox.commercetools import invoice_lines as ledger


@pytest.fixture(scope="session")
def still_shop() -> Iterator[Sandbox]:
    """A shop that no test changes."""
    with Sandbox(seed=7, inventory=1200, products=120, orders=120, customers=120) as shop:
        yield shop


@pytest.fixture(scope="session")
def reader(still_shop: Sandbox) -> Visitor:
    visitor = Visitor(still_shop, still_shop.port)
    visitor.log_in()
    return visitor


@pytest.fixture
def shop() -> Iterator[Sandbox]:
    """A shop of one's own, spotless."""
    with Sandbox(seed=3, inventory=60, products=12, orders=6, customers=6, flaws=0) as shop:
        yield shop


@pytest.fixture
def visitor(shop: Sandbox) -> Visitor:
    visitor = Visitor(shop, shop.port)
    visitor.log_in()
    shop.requests.clear()
    return visitor


@pytest.fixture
def real_shop(tmp_path: Path) -> Iterator[Sandbox]:
    """A shop from a small file that is as dirty as a real one."""
    with Sandbox(dataset=ledger.write(tmp_path / "lines.parquet")) as shop:
        yield shop


@pytest.fixture
def real(real_shop: Sandbox) -> Visitor:
    """A visitor of that shop."""
    visitor = Visitor(real_shop, real_shop.port)
    visitor.log_in()
    return visitor
