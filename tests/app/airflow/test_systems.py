"""What a task is given: Airflow's connections as systems, with all that workers share; and no secret on the way."""

from __future__ import annotations

import json
import logging
import os
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from airflow.sdk import crypto
from cryptography.fernet import Fernet

from crossdock.app.airflow.systems import client_of, systems_of
from crossdock.core.errors import AddressRefused, BadRequest, HubError
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.http import call_metrics
from crossdock.integrations import repository
from crossdock.integrations import service as integration_service
from crossdock.integrations.manifests import manifest_of
from crossdock.integrations.model import Integration
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.stack.settings_file import read_settings
from crossdock.sync import extract, load, mark_failed, validate
from crossdock.sync.model import SyncRequest
from tests.contracts.test_connectors import dump_of
from tests.hub_databases import airflow_connection
from tests.shop import query
from tests.streams import INVENTORY

CANARY = "canary-5ec2e7"
Connect = Callable[..., None]


@pytest.fixture
def retailer() -> Iterator[FakeRetailer]:
    with FakeRetailer(
        seed=7, inventory=60, products=0, orders=0, customers=0, flaws=0, client_id="crossdock", client_secret=CANARY
    ) as opened:
        yield opened


@pytest.fixture
def connect(retailer: FakeRetailer, hub_dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Connect:
    """The connections as the development stack's file has them, with more in the extra of commercetools."""
    file = next(each for each in read_settings().connections if each["connection_id"] == "commercetools")
    monkeypatch.setenv("AIRFLOW_CONN_HUB_DB", json.dumps(airflow_connection(hub_dsn)))
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    monkeypatch.setenv("HUB_LANDING_URL", f"file://{tmp_path}")
    settings.cache_clear()
    crypto.get_fernet.cache_clear()

    def connected(**extra: Any) -> None:
        connection = {"conn_type": "http", "host": retailer.url, "login": file["login"], "password": CANARY}
        connection["extra"] = json.loads(file["extra"]) | extra
        document = {**connection, "connection_id": "commercetools", "conn_type": "commercetools"}
        with Store(hub_dsn) as store:
            integration_service.register(store, [document | {"extra": json.dumps(connection["extra"])}], actor="test")
        monkeypatch.setenv("AIRFLOW_CONN_COMMERCETOOLS", json.dumps(connection))

    connected()
    return connected


def synced(dag_run_id: str) -> str:
    """A whole sync, each task with systems of its own; what the tasks hand on, as XCom would keep it."""
    with systems_of(INVENTORY) as systems:
        run_id = extract(
            INVENTORY, systems, SyncRequest(full=True), dag_id="sync_commercetools_inventory", dag_run_id=dag_run_id
        )
    with systems_of(INVENTORY) as systems:
        validate(INVENTORY, systems, run_id)
    with systems_of(INVENTORY) as systems:
        return run_id + json.dumps(load(INVENTORY, systems, run_id).as_document())


@pytest.mark.usefixtures("connect")
def test_a_sync_counts_its_calls_and_shares_its_token(retailer: FakeRetailer, store: Store) -> None:
    synced("first")
    synced("second")

    assert sum(entry.path == "/oauth/token" for entry in retailer.requests) == 1
    assert query(store, "SELECT count(*) FROM inventory") == [(60,)]
    run_ids = query(store, "SELECT run_id FROM sync_run")
    with store.transaction() as work:
        usages = [call_metrics.usage_of_run(work, run_id) for (run_id,) in run_ids]
        health = call_metrics.health(work, "commercetools")
    assert len(usages) == 2
    assert all(usage.successes >= 2 for usage in usages)
    assert health.usage.calls == sum(usage.calls for usage in usages)


@pytest.mark.parametrize("extra", [{"api": "graphql"}, {"calls": {"rate": {"calls": 100}, "limits": {"timeout_s": 5}}}])
def test_the_extra_of_a_connection_says_how_it_is_called(
    connect: Connect, retailer: FakeRetailer, store: Store, extra: dict[str, Any]
) -> None:
    connect(**extra)

    synced("first")

    assert query(store, "SELECT count(*) FROM inventory") == [(60,)]
    assert any(entry.path.endswith("/graphql") for entry in retailer.requests) is ("api" in extra)
    assert query(store, "SELECT count(*) FROM rate_limit") == [(int("calls" in extra),)]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"api": "soap"}, "expected rest or graphql"),
        ({"calls": {"rate": {"calls": 0}}}, "calls in the extra of the connection 'commercetools'"),
        ({"calls": {"limts": {}}}, "unknown field `limts`"),
        ({"calls": []}, "calls in the extra"),
        ({"calls": {"in_flight": -5}}, r"calls in the extra .*in_flight"),
        ({"calls": {"limits": {"attempts": 0}}}, r"limits\.attempts"),
        ({"calls": {"limits": {"timeout_s": -1}}}, r"limits\.timeout_s"),
        ({"calls": {"rate": {"calls": 1, "per_s": 1e308}}}, r"rate\.per_s"),
        ({"calls": {"breaker": {"open_s": 0}}}, r"breaker\.open_s"),
        ({"calls": {"limits": {"timeout_s": "soon"}}}, r"calls in the extra .*limits\.timeout_s"),
        ({"allowed_networks": "127.0.0.0/8"}, "allowed_networks"),
    ],
)
def test_an_extra_that_says_nothing_usable_is_reported(connect: Connect, extra: dict[str, Any], message: str) -> None:
    connect(**extra)

    with pytest.raises(BadRequest, match=message), systems_of(INVENTORY):
        pass


def test_a_connection_reaches_a_private_network_only_if_it_allows_it(connect: Connect, retailer: FakeRetailer) -> None:
    """Also to the loopback address that it names: people write connections, and this machine is not theirs to ask."""
    connect(allowed_networks=[])

    with systems_of(INVENTORY) as systems, pytest.raises(AddressRefused, match="not a public address"):
        systems.source.describe("inventory", None)
    assert list(retailer.requests) == []


MOVED: dict[str, dict[str, Any]] = {
    "base_url": {"host": "http://127.0.0.2:1"},
    "auth_url": {"extra": {"auth_url": "http://127.0.0.2:1"}},
    "token_path": {"extra": {"token_path": "/another"}},
    "ca_file": {"extra": {"ca_file": "/etc/theirs.pem"}},
    "allowed_networks": {"extra": {"allowed_networks": ["127.0.0.0/8", "10.0.0.0/8"]}},
}


def pointed_elsewhere(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    """What Airflow's own form can do with the connection, its stored credentials included."""
    known, changed = json.loads(os.environ["AIRFLOW_CONN_COMMERCETOOLS"]), MOVED[field]
    extra = known["extra"] | changed.get("extra", {})
    monkeypatch.setenv("AIRFLOW_CONN_COMMERCETOOLS", json.dumps(known | changed | {"extra": extra}))


def give_credentials(store: Store) -> Integration:
    """As if a person had given them to the hub."""
    with store.transaction() as work:
        return repository.change(work, repository.lock(work, "commercetools"), actor="ada", with_credentials=True)


@pytest.mark.usefixtures("connect")
@pytest.mark.parametrize("field", MOVED)
def test_a_connection_that_was_pointed_elsewhere_in_airflow_sends_no_credentials(
    store: Store, retailer: FakeRetailer, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    """Who may edit connections there cannot read a password, and could have it sent to a host of their own."""
    integration = give_credentials(store)
    pointed_elsewhere(monkeypatch, field)

    with pytest.raises(BadRequest, match=f"another {field} than the credentials were given"), systems_of(INVENTORY):
        pass
    with pytest.raises(BadRequest, match=field), client_of(store, integration, manifest_of("commercetools")):
        pass
    assert list(retailer.requests) == []


@pytest.mark.usefixtures("connect")
def test_a_connection_that_is_kept_elsewhere_may_change_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment and secrets backends have address and credentials together, and the hub writes neither."""
    pointed_elsewhere(monkeypatch, "base_url")

    with systems_of(INVENTORY):
        pass


@pytest.mark.usefixtures("connect")
def test_another_spelling_of_the_address_and_fewer_networks_are_no_move(
    store: Store, retailer: FakeRetailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_credentials(store)
    known = json.loads(os.environ["AIRFLOW_CONN_COMMERCETOOLS"])
    extra = known["extra"] | {"allowed_networks": ["127.0.0.0/8"]}
    monkeypatch.setenv("AIRFLOW_CONN_COMMERCETOOLS", json.dumps(known | {"host": f"{retailer.url}/", "extra": extra}))

    synced("first")

    assert query(store, "SELECT count(*) FROM inventory") == [(60,)]


def test_a_sweep_finds_no_secret_anywhere(
    connect: Connect, retailer: FakeRetailer, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The secret and every token: not in logs, errors, what tasks hand on, the hub's tables, or what landed.

    Over a sync that goes well and one for each way of going wrong.
    """
    caplog.set_level(logging.DEBUG)
    connect(calls={"limits": {"longest_wait_s": 0.1}})
    handed_on = synced("well")
    caught_text, tokens = "", set(retailer.tokens._expiries)
    for number, fault in enumerate(
        ({"status": 401}, {"status": 403}, {"status": 503}, {"reset": True}, {"truncate_json": 0.5})
    ):
        retailer.faults.put("inventory", [fault], repeat=True)
        with pytest.raises(HubError) as caught:
            synced(f"wrong-{number}")
        caught_text += "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        mark_failed(INVENTORY, store, f"wrong-{number}", str(caught.value), dag_id="sync_commercetools_inventory")
        tokens |= set(retailer.tokens._expiries)
    retailer.faults.clear()

    logs = caplog.text + repr([record.__dict__ for record in caplog.records])
    landed = [zstandard.ZstdDecompressor().decompress(path.read_bytes()) for path in tmp_path.rglob("*.zst")]
    files = b"".join(landed).decode("latin-1")
    sinks = {
        "what tasks hand on": handed_on,
        "errors": caught_text,
        "logs": logs,
        "tables": dump_of(store),
        "landing": files,
    }
    assert all(sinks.values()), "an empty sink proves nothing"
    assert len(tokens) >= 2
    found = [(name, secret) for name, text in sinks.items() for secret in (CANARY, *tokens) if secret in text]
    assert found == []


@pytest.mark.usefixtures("connect")
def test_the_overlap_of_a_delta_reaches_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings(), "overlap_minutes", 90)

    with systems_of(INVENTORY) as systems:
        assert systems.overlap == timedelta(hours=1.5)
