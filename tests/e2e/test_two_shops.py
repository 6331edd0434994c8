"""Two shops of one vendor are two integrations, each with its own streams, DAGs, records and watermarks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from crossdock.db.database import Store
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from tests.e2e.conftest import Hub
from tests.e2e.watched import Watched
from tests.shop import query

pytestmark = pytest.mark.e2e

OUTLET = "outlet"


@pytest.fixture(scope="module")
def stack(hub: Hub) -> Watched:
    return Watched(hub, timedelta(minutes=1))


@pytest.fixture(scope="module")
def outlet() -> Iterator[FakeRetailer]:
    with FakeRetailer(
        seed=9, inventory=120, products=20, orders=10, customers=15, flaws=0, client_id="outlet", client_secret="s3cret"
    ) as shop:
        yield shop


@pytest.fixture(scope="module")
def added(hub: Hub, stack: Watched, outlet: FakeRetailer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[float]:
    """The second shop in the registry; how many seconds later Airflow had its DAGs."""
    credentials = tmp_path_factory.mktemp("outlet") / "credentials.json"
    credentials.write_text(json.dumps({"client_id": outlet.client_id, "client_secret": outlet.client_secret}))
    settings = {"base_url": outlet.url, "project": outlet.project, "allowed_networks": ["127.0.0.0/8"]}
    words = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in settings.items()]
    options = [word for pair in words for word in ("--set", pair)]
    hub("integration", "add", OUTLET, "--kind", "commercetools", "--credentials", str(credentials), *options)
    began = time.monotonic()
    for dataset in ("inventory", "products", "orders", "customers"):
        stack.api.wait_for_dag(f"sync_{OUTLET}_{dataset}")
    yield time.monotonic() - began
    hub("integration", "remove", OUTLET, "--yes")


def test_an_added_integration_has_its_dags_and_a_pool(
    added: float, stack: Watched, record_property: Callable[[str, object], None]
) -> None:
    """Nobody writes a DAG file for it."""
    record_property("seconds until Airflow had the DAGs", round(added, 1))

    assert stack.api.get(f"/pools/{OUTLET}")["slots"] == 4
    assert stack.api.get("/importErrors")["import_errors"] == []


@pytest.mark.usefixtures("added")
def test_each_shop_has_records_and_watermarks_of_its_own(hub: Hub, stack: Watched) -> None:
    first = hub.json("sync", "commercetools.inventory", "--full", exit_code=None)
    second = hub.json("sync", "outlet.inventory", "--full")
    again = hub.json("sync", "outlet.inventory")

    assert (second["stream"], second["read"], second["inserted"]) == ("outlet.inventory", 120, 120)
    assert again["inserted"] == again["updated"] == 0
    with Store(stack.dsn) as store:
        records = dict(query(store, "SELECT integration, count(*) FROM inventory GROUP BY integration"))
        marks = {name for (name,) in query(store, "SELECT integration FROM watermark WHERE dataset = 'inventory'")}
    assert records[OUTLET] == 120
    assert records["commercetools"] > 900
    assert first["stream"] == "commercetools.inventory"
    assert {"commercetools", OUTLET} <= marks


@pytest.mark.usefixtures("added")
def test_a_name_that_means_two_streams_is_refused_with_both(hub: Hub) -> None:
    """Guessing would read the wrong shop."""
    refused = hub("sync", "inventory", exit_code=2)

    assert "commercetools.inventory" in refused
    assert "outlet.inventory" in refused


@pytest.mark.usefixtures("added")
def test_an_integration_that_has_read_records_is_not_pointed_at_another_project(hub: Hub) -> None:
    """Their records would mix under one watermark."""
    hub.json("sync", "outlet.orders", "--full")
    refused = hub("integration", "change", OUTLET, "--set", "project=another", exit_code=None)

    assert "would point it at another system" in refused
    assert "Add another integration" in refused
