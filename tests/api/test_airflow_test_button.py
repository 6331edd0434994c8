"""The Test button of Airflow's list of connections runs the checks of every connection of ours."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from crossdock.api.airflow_connections import document_of
from crossdock.integrations.manifests import Manifest, manifests
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from tests.api.conftest import Hub
from tests.shop import free_port

DECLARED = """
title: Stock of the ERP
base_url: {url}
auth: {{kind: oauth2, scope: view_products:{project}}}
read: {{path: "/{project}/inventory", records: results}}
identity: {{id: id, version: version, changed_at: lastModifiedAt}}
mapping:
  sku: {{path: sku}}
"""


def press_test(hub: Hub, connection_id: str) -> dict[str, Any]:
    """Send what the page of Airflow 3.3.2 sends: `null` as an empty text, as the port 0; the secret as it was masked."""
    shown = hub.airflow("GET", f"/connections/{connection_id}").json()
    texts = {name: shown[name] or "" for name in ("description", "host", "login", "password", "schema")}
    own = {"connection_id": connection_id, "conn_type": shown["conn_type"], "port": int(shown["port"] or 0)}
    answer = hub.airflow("POST", "/connections/test", json={**texts, **own, "extra": shown["extra"] or "{}"})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_it_passes_where_the_hub_s_own_test_does(hub: Hub) -> None:
    with FakeRetailer(seed=3, inventory=5, products=2, orders=2, customers=2, flaws=0) as shop:
        settings = {
            "base_url": shop.url,
            "project": shop.project,
            "scope": f"view_products:{shop.project} view_orders:{shop.project}",
            "allowed_networks": ["127.0.0.0/8"],
        }
        credentials = {"client_id": shop.client_id, "client_secret": shop.client_secret}
        body = {"id": "button_shop", "kind": "commercetools", "settings": settings, "credentials": credentials}
        added = hub.call("POST", "/v1/integrations", json=body)
        assert added.status_code == 201, added.text

        found = press_test(hub, "button_shop")

    assert found["status"], found
    assert "sample ok: read one of" in found["message"]


def test_it_finds_the_declaration_of_a_declared_system(hub: Hub) -> None:
    """Airflow tests a connection under a random ID, and the declaration's name is the ID."""
    with FakeRetailer(seed=3, inventory=5, products=2, orders=2, customers=2, flaws=0) as shop:
        declaration = DECLARED.format(url=shop.url, project=shop.project)
        (path := hub.declarations / "button_stock.yaml").write_text(declaration)
        credentials = {"user": shop.client_id, "secret": shop.client_secret}
        settings = {"allowed_networks": ["127.0.0.0/8"]}
        body = {"id": "button_stock", "kind": "declared", "settings": settings, "credentials": credentials}
        try:
            added = hub.call("POST", "/v1/integrations", json=body)
            assert added.status_code == 201, added.text
            found = press_test(hub, "button_stock")
        finally:
            path.unlink()

    assert found["status"], found
    assert "sample ok: read 5 of its records" in found["message"]


@pytest.mark.parametrize(
    "manifest", [found for found in manifests().values() if found.kind != "declared"], ids=lambda found: found.kind
)
def test_every_kind_is_tested_at_the_stored_address_with_the_stored_secret(hub: Hub, manifest: Manifest) -> None:
    """Nothing listens there: the check of the address says so, and only a connection that was read whole comes so far."""
    port, connection_id = free_port(), f"button_{manifest.kind}"
    settings, credentials = (_values(schema, port) for schema in (manifest.settings, manifest.credentials))
    connection = manifest.connection(connection_id, settings, credentials)
    created = hub.airflow("POST", "/connections", json=document_of(connection))
    assert created.status_code == 201, created.text

    found = press_test(hub, connection_id)

    assert not found["status"]
    assert found["message"].startswith("address failed:"), json.dumps(found)
    assert str(port) in found["message"]


def _values(schema: Any, port: int) -> dict[str, Any]:
    """Fill in what the schema requires, each address with one at which nothing listens."""
    found: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        if name == "allowed_networks":
            found[name] = ["127.0.0.0/8"]
        elif name.endswith("url") and name not in {"auth_url", "return_url"}:
            scheme = "smtp" if "smtp" in str(field) else "http"
            found[name] = f"{scheme}://127.0.0.1:{port}" + ("/hook" if name == "webhook_url" else "")
        elif name in schema.get("required", ()):
            found[name] = f"whsec_{base64.b64encode(bytes(32)).decode()}" if name == "secret" else "of-no-use-elsewhere"
    return found
