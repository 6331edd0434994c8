"""One real PostgreSQL server for the whole test run, and a fresh hub database for each test that asks."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings

from crossdock.app.database import migrate
from crossdock.db.database import Store
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.stack.postgres import HUB_OPTIONS, PostgresServer
from crossdock.sync import Systems
from crossdock.sync.landing import Landing
from tests.hub_databases import HubDatabases
from tests.shop import connect, free_port
from tests.streams import INVENTORY

#: Certificates of our own, for tests over TLS; the vendor's own contract.
pytest_plugins = ["tests.tls", "tests.vendor_contract"]

#: No example has a deadline: how long one takes is a matter of the machine. `./hub test --deep` makes thousands.
settings.register_profile("gate", deadline=None)
settings.register_profile("deep", deadline=None, max_examples=2_000)
settings.load_profile("gate")


#: A shell that starts a program in the background has it ignore SIGINT, and so would every child of a test.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server of our own on loopback; its data goes with the test run."""
    # Its own cleaning holds a transaction id for a moment, and no event after that is read until it has ended. Its files
    # need not outlive the machine: a process that is killed has given its writes to the system all the same.
    options = {**HUB_OPTIONS, "autovacuum": "off", "fsync": "off", "full_page_writes": "off"}
    server = PostgresServer(tmp_path_factory.mktemp("pg") / "server", free_port(), "test", options=options)
    server.initialise()
    server.start()
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE hub_template")
    migrate(server.dsn("hub_template"))
    yield server
    server.stop("immediate")
    server.remove()


@pytest.fixture(scope="session")
def hub_databases(postgres: PostgresServer) -> HubDatabases:
    return HubDatabases(postgres)


@pytest.fixture
def hub_dsn(postgres: PostgresServer, hub_databases: HubDatabases) -> Iterator[str]:
    """
    A migrated, empty hub database of the test's own.

    Without TLS and Kerberos, which it has not: their libraries keep locks, and a forked child that is to
    connect would wait for ever for one that a thread had when it was forked.
    """
    name, uses = hub_databases.take()
    yield f"{postgres.dsn(name)}?sslmode=disable&gssencmode=disable"
    hub_databases.give_back(name, uses)


@pytest.fixture
def store(hub_dsn: str) -> Iterator[Store]:
    with Store(hub_dsn) as opened:
        yield opened


@pytest.fixture
def shop() -> Iterator[FakeRetailer]:
    """A retailer with 1,200 stock levels, spotless."""
    with FakeRetailer(seed=7, inventory=1_200, products=0, orders=0, customers=0, flaws=0) as open_shop:
        yield open_shop


@pytest.fixture
def systems(shop: FakeRetailer, store: Store, tmp_path: Path) -> Systems:
    """The inventory sync's systems: the sandbox over a real socket, a real database, a folder."""
    return Systems(source=connect(shop), store=store, landing=Landing(str(tmp_path / "landing")))


@pytest.fixture
def inventory() -> object:
    return INVENTORY
