"""A paused integration reads nothing, and its runs are skipped, not failed."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import crypto
from airflow.sdk.exceptions import AirflowSkipException
from cryptography.fernet import Fernet

from crossdock.app.airflow import stream_dags
from crossdock.app.airflow.systems import systems_of
from crossdock.app.integrations import on_resumed
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.integrations import service as integration_service
from crossdock.observability import audit
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sync import load, validate
from crossdock.sync.model import SyncRequest
from tests.hub_databases import airflow_connection
from tests.shop import query
from tests.streams import INVENTORY

DAG_RUN: Any = SimpleNamespace(dag_id="sync_commercetools_inventory", run_id="manual__1")


@pytest.fixture
def connected(shop: FakeRetailer, store: Store, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Airflow's connections to the shop and to the hub's database, and the shop in the registry."""
    shop_connection = {
        "conn_type": "commercetools",
        "host": shop.url,
        "login": shop.client_id,
        "password": shop.client_secret,
        "extra": json.dumps(
            {"project": shop.project, "scope": f"view_products:{shop.project}", "allowed_networks": ["127.0.0.0/8"]}
        ),
    }
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    crypto.get_fernet.cache_clear()
    monkeypatch.setenv("AIRFLOW_CONN_HUB_DB", json.dumps(airflow_connection(store.dsn)))
    monkeypatch.setenv("AIRFLOW_CONN_COMMERCETOOLS", json.dumps(shop_connection))
    monkeypatch.setattr(settings(), "landing_url", f"file://{tmp_path}")
    integration_service.register(store, [{"connection_id": "commercetools", **shop_connection}], actor="cli:up")
    return store


def extract(notes: list[str] | None = None) -> str:
    """Extract in a task; *notes* gets what it leaves for the note of its run."""
    left = [] if notes is None else notes
    ti = SimpleNamespace(xcom_push=lambda *, key, value: left.append(f"{key}: {value}"))
    return stream_dags._extract(INVENTORY, SyncRequest(full=True, limit=10), DAG_RUN, ti)


def test_a_run_of_a_paused_integration_is_skipped_without_calling_the_source(
    connected: Store, shop: FakeRetailer
) -> None:
    integration_service.pause(connected, "commercetools", actor="otto")

    notes: list[str] = []
    with pytest.raises(AirflowSkipException, match=r"paused by otto.*integration resume commercetools"):
        extract(notes)
    assert "paused by otto" in notes[0]
    assert len(shop.requests) == 0
    assert query(connected, "SELECT run_id FROM sync_run") == []


def test_a_resumed_integration_reads_again(connected: Store) -> None:
    integration_service.pause(connected, "commercetools", actor="otto")
    integration_service.resume(connected, "commercetools", on_resumed=on_resumed, actor="otto")

    assert extract().startswith("inventory-")


def test_a_run_that_was_reading_when_it_was_paused_ends_as_failed(connected: Store) -> None:
    """Its retry finds the pause. Left without an end, it would keep its lease and look like one at work."""
    run_id = extract()
    integration_service.pause(connected, "commercetools", actor="otto")

    with pytest.raises(AirflowSkipException):
        extract()
    ((state, error),) = query(connected, "SELECT state, error FROM sync_run WHERE run_id = %s", run_id)
    assert state == "failed"
    assert "paused by otto" in error


def test_what_has_landed_is_brought_to_its_end(connected: Store) -> None:
    """It no longer needs the source."""
    run_id = extract()
    integration_service.pause(connected, "commercetools", actor="otto")

    with systems_of(INVENTORY) as systems:
        validate(INVENTORY, systems, run_id)
        assert load(INVENTORY, systems, run_id).counts.inserted == 10


def test_registering_what_is_there_changes_nothing(connected: Store) -> None:
    """Every start of the stack does it."""
    document = {"connection_id": "commercetools", "conn_type": "commercetools", "host": "http://127.0.0.1:1"}

    assert integration_service.register(connected, [document], actor="test").changed == ("commercetools",)
    assert integration_service.register(connected, [document], actor="test").changed == ()
    assert query(connected, "SELECT version, settings->>'base_url' FROM integration") == [(2, "http://127.0.0.1:1")]


@pytest.mark.parametrize("act", ["integration.change", "integration.rotate", "integration.remove", "integration.add"])
def test_what_somebody_did_to_an_integration_is_not_undone_by_the_settings_file(connected: Store, act: str) -> None:
    """A restart once fed the sandbox's stock into the tables of a real shop."""
    document = {"connection_id": "commercetools", "conn_type": "commercetools", "host": "http://127.0.0.1:1"}
    with connected.transaction() as work:
        audit.add(work, actor="otto", act=act, subject="integration/commercetools")

    found = integration_service.register(connected, [document], actor="cli:up")

    assert found.changed == ()
    assert {kept: (entry.actor, entry.act) for kept, entry in found.kept.items()} == {"commercetools": ("otto", act)}
    assert query(connected, "SELECT version FROM integration") == [(1,)]


def test_the_settings_file_follows_its_own_changes(connected: Store) -> None:
    """The ports of a stack may move from one start to the next."""
    document = {"connection_id": "commercetools", "conn_type": "commercetools", "host": "http://127.0.0.1:1"}
    first = integration_service.register(connected, [document], actor="cli:up")
    moved = integration_service.register(connected, [document | {"host": "http://127.0.0.1:2"}], actor="cli:prepare")

    assert (first.changed, moved.changed, moved.kept) == (("commercetools",), ("commercetools",), {})
