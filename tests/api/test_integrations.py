"""The registry over REST, against Airflow's real connections and a sandbox on a real socket."""

from __future__ import annotations

import itertools
import json
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from crossdock.core.errors import HubError
from crossdock.core.ids import delivery_dags
from crossdock.db.database import Store
from crossdock.http.breaker import BreakerRules
from crossdock.http.client import HttpClient
from crossdock.http.config import ClientConfig
from crossdock.http.model import CallPolicy, Rate
from crossdock.http.shared_safeguards import SharedSafeguards
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from tests.api.conftest import Hub
from tests.api.test_access import assert_problem
from tests.shop import QUICK, free_port, query

_numbers = itertools.count()
#: Planted in every secret field; found nowhere but encrypted in Airflow's database.
CANARY = "k4n4ry-that-must-not-be-seen"


#: A declared system whose URL only the file says.
DECLARED = """
title: Stock of the ERP
base_url: {url}
auth: {kind: oauth2, scope: view_products:{project}}
read: {path: "/{project}/inventory", records: results}
identity: {id: id, version: version, changed_at: lastModifiedAt}
mapping:
  sku: {path: sku}
"""


@pytest.fixture(scope="module")
def retailer() -> Iterator[FakeRetailer]:
    with FakeRetailer(
        seed=3, inventory=20, products=5, orders=5, customers=2, flaws=0, client_secret=CANARY
    ) as open_platform:
        yield open_platform


def wish(retailer: FakeRetailer, **changes: Any) -> dict[str, Any]:
    """What a caller sends to add the retailer, under an id of its own."""
    settings = {
        "base_url": retailer.url,
        "project": retailer.project,
        "scope": f"view_products:{retailer.project} view_orders:{retailer.project}",
        "allowed_networks": ["127.0.0.0/8"],
        **changes.pop("settings", {}),
    }
    credentials = {"client_id": retailer.client_id, "client_secret": CANARY, **changes.pop("credentials", {})}
    return {
        "id": f"shop_{next(_numbers)}",
        "kind": "commercetools",
        "name": "A shop",
        "settings": settings,
        "credentials": credentials,
        **changes,
    }


def added(hub: Hub, retailer: FakeRetailer, **changes: Any) -> dict[str, Any]:
    answer = hub.call("POST", "/v1/integrations", json=wish(retailer, **changes))
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


def outcomes(checks: list[dict[str, Any]]) -> dict[str, str]:
    return {check["name"]: check["outcome"] for check in checks}


def is_nowhere(hub: Hub, integration_id: str) -> bool:
    """Neither in the registry, nor in Airflow, nor in the audit trail."""
    with hub.store() as store:
        audited = query(store, "SELECT 1 FROM audit_entry WHERE subject = %s", f"integration/{integration_id}")
    listed = hub.call("GET", f"/v1/integrations/{integration_id}").status_code
    return not audited and listed == 404 and hub.airflow("GET", f"/connections/{integration_id}").status_code == 404


def test_an_integration_is_tested_and_then_stored(hub: Hub, retailer: FakeRetailer) -> None:
    request_body = wish(retailer)
    answer = hub.call("POST", "/v1/integrations", json=request_body)

    assert answer.status_code == 201, answer.text
    document = answer.json()
    assert outcomes(document["checks"]) == {
        "address": "ok",
        "tls": "skipped",
        "credentials": "ok",
        "scope": "ok",
        "sample": "ok",
    }
    assert answer.headers["Location"] == f"/hub/v1/integrations/{request_body['id']}"
    assert answer.headers["ETag"] == '"1"'
    assert document["settings"] == request_body["settings"]
    assert document["test_passed"]
    assert document["created_by"] == "airflow:admin"
    assert hub.call("GET", f"/v1/integrations/{request_body['id']}").headers["ETag"] == '"1"'


def test_its_credentials_are_encrypted_in_airflow(hub: Hub, retailer: FakeRetailer) -> None:
    document = added(hub, retailer)

    connection = hub.airflow("GET", f"/connections/{document['id']}").json()
    assert connection["conn_type"] == "commercetools"
    assert connection["host"] == retailer.url
    with sqlite3.connect(hub.metadata) as metadata:
        password, encrypted = metadata.execute(
            "SELECT password, is_encrypted FROM connection WHERE conn_id = ?", [document["id"]]
        ).fetchone()
    assert encrypted
    assert password.startswith("gAAAA")


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"settings": {"base_url": f"http://127.0.0.1:{free_port()}"}}, "address"),
        ({"settings": {"base_url": "https://no-such-host.invalid"}}, "address"),
        ({"settings": {"base_url": "https://169.254.169.254"}}, "address"),
        ({"settings": {"allowed_networks": []}}, "address"),
        ({"credentials": {"client_secret": f"{CANARY}-but-wrong"}}, "credentials"),
        ({"settings": {"project": "not-the-one"}}, "scope"),
    ],
    ids=[
        "a closed port",
        "an unknown host",
        "a cloud's metadata",
        "our own network",
        "a wrong secret",
        "another project",
    ],
)
def test_a_connection_that_fails_is_not_stored(
    hub: Hub, retailer: FakeRetailer, changes: dict[str, Any], failed: str
) -> None:
    """The failed check is named, with what to do about it; the checks before it passed, those after it did not run."""
    request_body = wish(retailer, **changes)
    answer = hub.call("POST", "/v1/integrations", json=request_body)

    assert_problem(answer, 422, "connection-test-failed")
    found = answer.json()["checks"]
    names = [check["name"] for check in found]
    at = names.index(failed)
    assert [check["outcome"] for check in found[at:]] == ["failed"] + ["skipped"] * (len(found) - at - 1)
    assert {check["outcome"] for check in found[:at]} <= {"ok", "skipped"}
    assert found[at]["hint"]
    assert CANARY not in answer.text
    assert is_nowhere(hub, request_body["id"])


def test_an_untrusted_certificate_fails_the_tls_check(hub: Hub, retailer: FakeRetailer) -> None:
    """The sandbox speaks no TLS at all, which is the crudest such certificate."""
    request_body = wish(retailer, settings={"base_url": retailer.url.replace("http://", "https://")})
    answer = hub.call("POST", "/v1/integrations", json=request_body)

    assert outcomes(answer.json()["checks"])["tls"] == "failed"


def test_the_schema_refuses_before_anything_is_called(hub: Hub, retailer: FakeRetailer) -> None:
    """Every place is named; no value is quoted, which may be a secret in the wrong field."""
    request_body = wish(retailer, settings={"project": f"{CANARY} {CANARY}", "colour": CANARY, "base_url": "ftp://x"})
    del request_body["credentials"]["client_id"]
    before = len(retailer.requests)
    answer = hub.call("POST", "/v1/integrations", json=request_body)

    assert_problem(answer, 422, "settings-invalid")
    assert {error["pointer"] for error in answer.json()["errors"]} == {
        "/settings/project",
        "/settings/colour",
        "/settings/base_url",
        "/credentials/client_id",
    }
    assert CANARY not in answer.text
    assert len(retailer.requests) == before


def test_an_unknown_kind_is_refused_with_those_there_are(hub: Hub, retailer: FakeRetailer) -> None:
    answer = hub.call("POST", "/v1/integrations", json=wish(retailer, kind="fax"))

    assert_problem(answer, 422, "settings-invalid")
    assert "commercetools" in answer.json()["detail"]


def test_an_id_is_taken_once(hub: Hub, retailer: FakeRetailer) -> None:
    document = added(hub, retailer)

    assert_problem(hub.call("POST", "/v1/integrations", json=wish(retailer, id=document["id"])), 409, "conflict")


def test_a_connection_that_the_hub_did_not_write_is_not_overwritten(hub: Hub, retailer: FakeRetailer) -> None:
    mine = {"connection_id": "not_of_the_hub", "conn_type": "ftp", "password": "theirs"}
    hub.airflow("POST", "/connections", json=mine)
    answer = hub.call("POST", "/v1/integrations", json=wish(retailer, id="not_of_the_hub"))

    assert_problem(answer, 409, "conflict")
    assert hub.airflow("GET", "/connections/not_of_the_hub").json()["conn_type"] == "ftp"


def test_a_connection_that_is_there_is_used_as_it_is(hub: Hub, retailer: FakeRetailer) -> None:
    """Out of the environment or a secrets backend, where the hub cannot write; and removing leaves it alone."""
    body = wish(retailer, id="out_of_the_vault")
    extra = {name: value for name, value in body["settings"].items() if name != "base_url"} | {"note": CANARY}
    hub.airflow(
        "POST",
        "/connections",
        json={
            "connection_id": "out_of_the_vault",
            "conn_type": "http",
            "host": retailer.url,
            "login": retailer.client_id,
            "password": CANARY,
            "extra": json.dumps(extra),
        },
    )
    answer = hub.call("POST", "/v1/integrations", json={"id": "out_of_the_vault", "kind": "commercetools"})

    assert answer.status_code == 201, answer.text
    assert answer.json()["settings"] == body["settings"]
    assert answer.json()["credentials_set_at"] is None
    assert CANARY not in answer.text

    hub.call("DELETE", "/v1/integrations/out_of_the_vault", headers={"If-Match": "*"})
    assert hub.airflow("GET", "/connections/out_of_the_vault").status_code == 200


def test_a_connection_with_its_port_in_a_field_of_its_own_is_seen_as_it_is_called(
    hub: Hub, retailer: FakeRetailer
) -> None:
    """As Airflow's own form has it: host, port and schema."""
    extra = {name: value for name, value in wish(retailer)["settings"].items() if name != "base_url"}
    body = {"connection_id": "in_parts", "conn_type": "http", "schema": "http", "host": "127.0.0.1"}
    body |= {"login": retailer.client_id, "password": CANARY, "extra": json.dumps(extra)}
    hub.airflow("POST", "/connections", json={**body, "port": retailer.port})
    answer = hub.call("POST", "/v1/integrations", json={"id": "in_parts", "kind": "commercetools"})

    assert answer.status_code == 201, answer.text
    assert answer.json()["settings"]["base_url"] == retailer.url


@pytest.mark.parametrize(
    "base_url",
    [
        "http://x:99999",
        "http://x:abc",
        "http://[",
        "http://\u2488",
        "http://[fe80::1%25eth0]",
    ],
)
def test_an_invalid_address_is_reported_and_not_called(hub: Hub, retailer: FakeRetailer, base_url: str) -> None:
    answer = hub.call("POST", "/v1/integrations", json=wish(retailer, settings={"base_url": base_url}))

    assert_problem(answer, 400, "bad-request")


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "http://2130706433:1"},
        {"base_url": "http://[::ffff:a9fe:a9fe]"},
        {"base_url": "https://localhost"},
        {"auth_url": "http://169.254.169.254", "allowed_networks": ["127.0.0.0/8"]},
    ],
    ids=str,
)
def test_a_host_of_our_own_network_is_refused_by_the_test(
    hub: Hub, retailer: FakeRetailer, settings: dict[str, Any]
) -> None:
    """However it is written, and wherever it stands: also the host that gives the tokens is called."""
    request_body = wish(retailer, settings={"allowed_networks": [], **settings})
    answer = hub.call("POST", "/v1/integrations", json=request_body)

    assert_problem(answer, 422, "connection-test-failed")
    failed = next(check for check in answer.json()["checks"] if check["outcome"] == "failed")
    assert "is not a public address" in failed["message"]


def test_a_redirect_of_the_system_leads_nowhere(hub: Hub, retailer: FakeRetailer) -> None:
    retailer.faults.put("inventory", [{"redirect": "http://169.254.169.254/latest"}], repeat=True)
    try:
        answer = hub.call("POST", "/v1/integrations", json=wish(retailer))
    finally:
        retailer.faults.clear()

    assert_problem(answer, 422, "connection-test-failed")
    assert "Redirects are not followed" in answer.json()["detail"]


def test_without_credentials_there_must_be_a_connection(hub: Hub) -> None:
    answer = hub.call("POST", "/v1/integrations", json={"id": "nowhere_at_all", "kind": "commercetools"})

    assert_problem(answer, 422, "settings-invalid")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("PATCH", "", {"name": "x"}), ("DELETE", "", None), ("POST", "/rotate", {"credentials": {}})],
)
def test_a_change_needs_the_version_that_was_seen(
    hub: Hub, retailer: FakeRetailer, method: str, path: str, body: dict[str, Any] | None
) -> None:
    """Else of two people who change an integration at once, the first never learns that it was undone."""
    of = f"/v1/integrations/{added(hub, retailer)['id']}{path}"

    assert_problem(hub.call(method, of, json=body), 428, "precondition-required")
    assert_problem(hub.call(method, of, json=body, headers={"If-Match": '"7"'}), 412, "version-changed")
    for none in ("rubbish", '"x"', "7", ""):
        assert_problem(hub.call(method, of, json=body, headers={"If-Match": none}), 400, "bad-request")


def test_a_change_counts_the_version_up(hub: Hub, retailer: FakeRetailer) -> None:
    of = f"/v1/integrations/{added(hub, retailer)['id']}"
    answer = hub.call("PATCH", of, json={"name": "Renamed"}, headers={"If-Match": '"1"'})

    assert answer.status_code == 200
    assert answer.headers["ETag"] == '"2"'
    assert answer.json()["name"] == "Renamed"
    assert_problem(
        hub.call("PATCH", of, json={"name": "Too late"}, headers={"If-Match": '"1"'}), 412, "version-changed"
    )


def test_changed_settings_are_tested_with_the_stored_secret(hub: Hub, retailer: FakeRetailer) -> None:
    document = added(hub, retailer)
    of, settings = f"/v1/integrations/{document['id']}", document["settings"]
    wrong = hub.call(
        "PATCH", of, json={"settings": {**settings, "project": "not-the-one"}}, headers={"If-Match": '"1"'}
    )
    right = hub.call(
        "PATCH", of, json={"settings": {**settings, "token_path": "/oauth/token"}}, headers={"If-Match": '"1"'}
    )

    assert_problem(wrong, 422, "connection-test-failed")
    assert right.status_code == 200, right.text
    assert outcomes(right.json()["checks"])["sample"] == "ok"
    assert "token_path" in hub.airflow("GET", f"/connections/{document['id']}").json()["extra"]


class AnotherHost:
    """A host that somebody would like to have the credentials sent to. It notes that it was called."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def was_called(self) -> bool:
        with suppress(TimeoutError):
            self._socket.accept()[0].close()
            return True
        return False


@pytest.mark.parametrize(
    "moved",
    [
        {"base_url": "{other}"},
        {"auth_url": "{other}"},
        {"token_path": "/another/token"},
        {"ca_file": "/etc/another.pem"},
        {"allowed_networks": ["127.0.0.0/8", "10.0.0.0/8"]},
    ],
    ids=lambda settings: next(iter(settings)),
)
@pytest.mark.parametrize("name", ["otto", "admin"])
def test_credentials_do_not_follow_a_changed_destination(
    hub: Hub, retailer: FakeRetailer, moved: dict[str, Any], name: str
) -> None:
    """No role can read a credential, so none may have it sent to a host of its own either."""
    document, other = added(hub, retailer), AnotherHost()
    of = f"/v1/integrations/{document['id']}"
    settings = json.loads(json.dumps({**document["settings"], **moved}).replace("{other}", other.url))
    before = hub.airflow("GET", f"/connections/{document['id']}").json()

    body = {"settings": settings, "same_records": True}
    refused = hub.call("PATCH", of, name, json=body, headers={"If-Match": '"1"'})

    assert_problem(refused, 422, "settings-invalid")
    assert refused.json()["errors"] == [
        {
            "pointer": "/credentials",
            "message": f"must be given again, because {next(iter(moved))} decides where they are sent",
        }
    ]
    assert not other.was_called
    assert hub.airflow("GET", f"/connections/{document['id']}").json() == before
    assert hub.call("GET", of).json()["version"] == 1


def test_a_destination_changes_together_with_the_credentials(hub: Hub, retailer: FakeRetailer) -> None:
    """The audit trail names both."""
    document = added(hub, retailer)
    of = f"/v1/integrations/{document['id']}"
    credentials = {"client_id": retailer.client_id, "client_secret": CANARY}
    networks = [*document["settings"]["allowed_networks"], "10.0.0.0/8"]
    settings = {**document["settings"], "allowed_networks": networks}

    wrong = {"settings": settings, "credentials": {**credentials, "client_secret": f"{CANARY}-but-wrong"}}
    refused = hub.call("PATCH", of, "otto", json=wrong, headers={"If-Match": '"1"'})
    assert_problem(refused, 422, "connection-test-failed")
    assert hub.call("POST", f"{of}/test").json()["passed"]

    body = {"settings": settings, "credentials": credentials}
    changed = hub.call("PATCH", of, "otto", json=body, headers={"If-Match": '"1"'})
    assert changed.status_code == 200, changed.text
    assert hub.call("POST", f"{of}/test").json()["passed"]
    with hub.store() as store:
        subject = f"integration/{document['id']}"
        ((detail,),) = query(
            store, "SELECT detail FROM audit_entry WHERE subject = %s AND act = 'integration.change'", subject
        )
    assert set(detail["changed"]) == {"credentials_set_at", "settings.allowed_networks"}


def test_settings_that_do_not_move_the_credentials_change_without_them(hub: Hub, retailer: FakeRetailer) -> None:
    document = added(hub, retailer)
    settings = {
        **document["settings"],
        "base_url": document["settings"]["base_url"] + "/",
        "token_path": "/oauth/token",
        "scope": f"view_products:{retailer.project}",
        "allowed_networks": ["127.0.0.0/8"],
    }
    answer = hub.call(
        "PATCH",
        f"/v1/integrations/{document['id']}",
        json={"settings": settings, "same_records": True},
        headers={"If-Match": '"1"'},
    )

    assert answer.status_code == 200, answer.text


def test_credentials_of_a_declared_system_do_not_follow_its_file(hub: Hub, retailer: FakeRetailer) -> None:
    """Who may change the file of a declaration need not know the credentials."""
    del retailer
    declaration = hub.declarations / "stock_of_erp.yaml"
    with FakeRetailer(seed=4, inventory=3, products=0, orders=0, customers=0, flaws=0) as system:
        declaration.write_text(DECLARED.replace("{url}", system.url).replace("{project}", system.project))
        try:
            body = {
                "id": "stock_of_erp",
                "kind": "declared",
                "settings": {"allowed_networks": ["127.0.0.0/8"]},
                "credentials": {"user": system.client_id, "secret": system.client_secret},
            }
            answer = hub.call("POST", "/v1/integrations", json=body)
            assert answer.status_code == 201, answer.text
            assert answer.json()["name"] == "Stock of the ERP", "what the declaration calls it"
            other = AnotherHost()
            declaration.write_text(declaration.read_text().replace(system.url, other.url))
            tested = hub.call("POST", "/v1/integrations/stock_of_erp/test")
        finally:
            declaration.unlink()

    assert tested.status_code == 400, tested.text
    assert f"the credentials were given for {system.url} /oauth/token" in tested.json()["detail"]
    assert tested.json()["hint"]["request"] == "POST /hub/v1/integrations/stock_of_erp/rotate"
    assert not other.was_called


def test_changes_in_a_row_are_one_request_to_parse(hub: Hub, retailer: FakeRetailer) -> None:
    """The second change was stored and answered 500, while Airflow had not yet parsed after the first."""
    document = added(hub, retailer)
    of = f"/v1/integrations/{document['id']}"
    hub.airflow_knows(delivery_dags(1)[0], "deliver_events.py")

    changes = [
        hub.call("PATCH", of, json={"name": name}, headers={"If-Match": f'"{at}"'}) for at, name in ((1, "A"), (2, "B"))
    ]

    assert [change.status_code for change in changes] == [200, 200]


def test_fields_that_others_added_to_the_connection_stay(hub: Hub, retailer: FakeRetailer) -> None:
    """Its extra may hold what the kind's schema does not know: losing it would change how the system is called."""
    document = added(hub, retailer)
    of, at = f"/v1/integrations/{document['id']}", f"/connections/{document['id']}"
    extra = {**json.loads(hub.airflow("GET", at).json()["extra"]), "of_somebody": {"calls": 3}}
    patch = {"connection_id": document["id"], "conn_type": "commercetools", "extra": json.dumps(extra)}
    hub.airflow("PATCH", f"{at}?update_mask=extra", json=patch)

    good = {"credentials": {"client_id": retailer.client_id, "client_secret": CANARY}}
    settings = {"settings": {**document["settings"], "token_path": "/oauth/token"}}
    assert hub.call("POST", f"{of}/rotate", json=good, headers={"If-Match": "*"}).status_code == 200
    assert hub.call("PATCH", of, json=settings, headers={"If-Match": "*"}).status_code == 200
    kept = json.loads(hub.airflow("GET", at).json()["extra"])
    assert kept["of_somebody"] == {"calls": 3}
    assert "token_path" in kept  # Airflow hides its value, for its name


def test_new_credentials_take_the_place_of_the_old_only_when_they_work(hub: Hub, retailer: FakeRetailer) -> None:
    of = f"/v1/integrations/{added(hub, retailer)['id']}"
    bad = {"client_id": retailer.client_id, "client_secret": f"{CANARY}-but-wrong"}
    good = {"client_id": retailer.client_id, "client_secret": CANARY}

    answer = hub.call("POST", f"{of}/rotate", json={"credentials": bad}, headers={"If-Match": '"1"'})
    assert_problem(answer, 422, "connection-test-failed")
    assert hub.call("POST", f"{of}/test").json()["passed"]

    answer = hub.call("POST", f"{of}/rotate", json={"credentials": good}, headers={"If-Match": '"1"'})
    assert answer.status_code == 200, answer.text
    assert answer.json()["version"] == 2
    assert hub.call("POST", f"{of}/test").json()["passed"]


def test_a_connection_test_reports_a_system_that_went_down(hub: Hub, retailer: FakeRetailer) -> None:
    document = added(hub, retailer)
    retailer.faults.put("inventory", [{"status": 503}], repeat=True)
    try:
        answer = hub.call("POST", f"/v1/integrations/{document['id']}/test", "dora")
    finally:
        retailer.faults.clear()

    assert answer.status_code == 200
    assert not answer.json()["passed"]
    failed = next(check for check in answer.json()["checks"] if check["outcome"] == "failed")
    assert failed["hint"] == "The system was busy or down; test again when it is available"
    shown = hub.call("GET", f"/v1/integrations/{document['id']}").json()
    assert shown["test_passed"] is False
    assert shown["version"] == 1


def test_pausing_twice_is_pausing_once(hub: Hub, retailer: FakeRetailer) -> None:
    of = f"/v1/integrations/{added(hub, retailer)['id']}"

    assert [hub.call("POST", f"{of}/pause").json()["version"] for _ in range(2)] == [2, 2]
    assert hub.call("GET", of).json()["state"] == "paused"
    assert [hub.call("POST", f"{of}/resume").json()["state"] for _ in range(2)] == ["active", "active"]


def test_a_removed_integration_leaves_no_secret_behind(hub: Hub, retailer: FakeRetailer) -> None:
    integration_id = added(hub, retailer)["id"]
    answer = hub.call("DELETE", f"/v1/integrations/{integration_id}", headers={"If-Match": '"1"'})

    assert answer.status_code == 204
    assert hub.call("GET", f"/v1/integrations/{integration_id}").status_code == 404
    assert hub.airflow("GET", f"/connections/{integration_id}").status_code == 404


def test_every_change_has_its_line_in_the_audit_trail(hub: Hub, retailer: FakeRetailer) -> None:
    of = f"/v1/integrations/{added(hub, retailer)['id']}"
    good = {"credentials": {"client_id": retailer.client_id, "client_secret": CANARY}}
    hub.call("PATCH", of, "otto", json={"name": "x"}, headers={"If-Match": "*"})
    hub.call("POST", f"{of}/rotate", "otto", json=good, headers={"If-Match": "*"})
    hub.call("POST", f"{of}/test", "dora")
    hub.call("POST", f"{of}/pause", "otto")
    hub.call("POST", f"{of}/resume", "otto")
    hub.call("DELETE", of, headers={"If-Match": "*"})

    with hub.store() as store:
        subject = f"integration/{of.rpartition('/')[2]}"
        entries = query(store, "SELECT act, actor FROM audit_entry WHERE subject = %s ORDER BY entry_id", subject)
    assert entries == [
        ("integration.add", "airflow:admin"),
        ("integration.change", "airflow:otto"),
        ("integration.rotate", "airflow:otto"),
        ("integration.test", "airflow:dora"),
        ("integration.pause", "airflow:otto"),
        ("integration.resume", "airflow:otto"),
        ("integration.remove", "airflow:admin"),
    ]


def test_two_changes_at_once_are_one_change_and_one_refusal(hub: Hub, retailer: FakeRetailer) -> None:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    of = f"/v1/integrations/{added(hub, retailer)['id']}"
    hub.token("admin")
    with ThreadPoolExecutor(8) as pool:
        names = [f"name {number}" for number in range(8)]
        answers = list(
            pool.map(lambda name: hub.call("PATCH", of, json={"name": name}, headers={"If-Match": '"1"'}), names)
        )

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    assert hub.call("GET", of).json()["version"] == 2


def test_pages_neither_skip_nor_repeat_while_integrations_come(hub: Hub, retailer: FakeRetailer) -> None:
    before = [added(hub, retailer)["id"] for _ in range(4)]
    seen, cursor = [], None
    while True:
        page = hub.call("GET", "/v1/integrations", params={"limit": 2, "cursor": cursor}).json()
        seen += [each["id"] for each in page["integrations"]]
        added(hub, retailer, id=f"a_first_{next(_numbers)}")
        if (cursor := page["next_cursor"]) is None:
            break

    assert len(seen) == len(set(seen))
    assert set(before) <= set(seen)


@pytest.mark.parametrize("path", ["/v1/integrations", "/v1/runs"])
@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": 0},
        {"limit": -1},
        {"limit": 501},
        {"limit": "x"},
        {"cursor": "x"},
        {"cursor": "bnVsbA"},
        {"cursor": "💥"},
    ],
    ids=str,
)
def test_a_page_that_cannot_be_is_refused(hub: Hub, path: str, parameters: dict[str, Any]) -> None:
    assert_problem(hub.call("GET", path, params=parameters), 400, "bad-request")


def test_health_matches_the_ledger(hub: Hub, retailer: FakeRetailer) -> None:
    integration_id = added(hub, retailer)["id"]
    with hub.store() as store:
        for run_id, state, read in (("one", "done", 7), ("two", "failed", 0)):
            add_run(store, integration_id, f"{run_id}-{integration_id}", state, read)
    health = hub.call("GET", f"/v1/integrations/{integration_id}/health", "vera").json()

    assert health["last_run_id"] == f"two-{integration_id}"
    assert health["last_error"] == "it broke"
    assert (health["runs_24h"], health["failed_24h"], health["records_read_24h"]) == (2, 1, 7)
    assert health["last_success_at"]


def test_health_reports_calls_and_the_breaker(hub: Hub, retailer: FakeRetailer) -> None:
    """What the workers counted, of all and of each run, and what the breaker did."""
    integration_id = added(hub, retailer)["id"]
    of, run_id = f"/v1/integrations/{integration_id}", f"run-{integration_id}"
    policy = CallPolicy(rate=Rate(calls=100), breaker=BreakerRules(failures_in_a_row=2, open_s=60))
    with hub.store() as store, SharedSafeguards(store, integration_id, run_of=lambda: run_id) as calls:
        add_run(store, integration_id, run_id)
        guards = calls.safeguards(policy)
        client = HttpClient("shop", retailer.url, config=ClientConfig(limits=QUICK, safeguards=guards))
        path = f"/{retailer.project}/inventory"
        retailer.faults.put("*", ["ok", {"status": 503}, {"status": 503}])
        for _ in range(4):
            with suppress(HubError):
                client.get(path, {}, lambda _: None)

    health = hub.call("GET", f"{of}/health", "vera").json()
    counts = {
        name: health["calls"][name] for name in ("calls", "successes", "refusals", "errors", "avoided", "retries")
    }
    assert counts == {"calls": 3, "successes": 0, "refusals": 1, "errors": 2, "avoided": 3, "retries": 1}
    assert health["calls"]["p95_ms"] >= health["calls"]["p50_ms"] > 0
    assert health["breaker"]["phase"] == "open"
    outage = health["breaker"]["outage"]
    assert (outage["calls"], "answered HTTP 503" in outage["reason"]) == (2, True)
    assert datetime.fromisoformat(outage["since"]) <= datetime.now(UTC)
    assert [(each["from_phase"], each["to_phase"]) for each in health["breaker"]["changes"]] == [("closed", "open")]
    assert health["limit_use"] is not None
    usage = hub.call("GET", f"{of}/usage", "vera", params={"run": run_id}).json()
    assert [(each["run_id"], each["calls"]["calls"]) for each in usage["runs"]] == [(run_id, 3)]
    assert hub.call("GET", f"{of}/usage").json() == usage
    listed = hub.call("GET", "/v1/integrations", params={"limit": 500}).json()["integrations"]
    summary = next(each["health"] for each in listed if each["id"] == integration_id)
    assert (summary["calls"], summary["errors"], summary["avoided"], summary["breaker"]) == (3, 2, 3, "open")


def test_the_usage_of_a_run_of_another_integration_is_not_shown(hub: Hub, retailer: FakeRetailer) -> None:
    """It would be shown as the usage of an integration that never made those calls."""
    mine, other = added(hub, retailer)["id"], added(hub, retailer)["id"]
    with hub.store() as store:
        add_run(store, other, f"run-{other}")

    for run in (f"run-{other}", "no-such-run"):
        assert_problem(hub.call("GET", f"/v1/integrations/{mine}/usage", params={"run": run}), 404, "not-found")
    assert_problem(hub.call("GET", "/v1/integrations/nowhere/usage"), 404, "not-found")
    assert_problem(hub.call("GET", f"/v1/integrations/{mine}/health", params={"hours": 721}), 400, "bad-request")


def add_run(store: Store, integration_id: str, run_id: str, state: str = "done", read: int = 0) -> None:
    with store.transaction() as work:
        work.execute(
            b"INSERT INTO sync_run (run_id, integration, dataset, shard, mode, request, state, moves_watermark, read,"
            b" inserted, error, finished_at) VALUES (%s, %s, 'inventory', 'all', 'full', '{}', %s, true, %s, %s, %s,"
            b" clock_timestamp())",
            [run_id, integration_id, state, read, read, "it broke" if state == "failed" else None],
        )


def test_no_secret_is_anywhere(hub: Hub, retailer: FakeRetailer) -> None:
    """Answers, the server's log, every table of the hub, every table of Airflow."""
    document = added(hub, retailer)
    of = f"/v1/integrations/{document['id']}"
    body = {"credentials": {"client_id": retailer.client_id, "client_secret": CANARY}}
    answers = [
        hub.call("GET", of),
        hub.call("GET", "/v1/integrations"),
        hub.call("GET", f"{of}/health"),
        hub.call("POST", f"{of}/test"),
        hub.call("POST", f"{of}/rotate", json=body, headers={"If-Match": "*"}),
        hub.call("POST", f"{of}/rotate", json={"credentials": {"client_secret": [CANARY]}}, headers={"If-Match": "*"}),
        hub.call("POST", f"{of}/rotate", json={"credentials": CANARY}, headers={"If-Match": "*"}),
        hub.call("POST", "/v1/integrations", data=f'{{"credentials": "{CANARY}'.encode()),
        hub.airflow("GET", f"/connections/{document['id']}"),
    ]

    assert [answer.url for answer in answers if CANARY in answer.text] == []
    assert CANARY not in hub.log.read_text()
    assert CANARY.encode() not in hub.metadata.read_bytes()
    with hub.store() as store:
        tables = query(store, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'hub'")
        for (table,) in tables:
            assert query(store, f"SELECT 1 FROM {table} t WHERE t::text LIKE %s", f"%{CANARY}%") == [], table


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"null", "application/json"),
        (b"[]", "application/json"),
        (b'{"id": "a_b", "id": "a_c", "kind": "commercetools"}', "application/json"),
        (b'{"id": "a_b", "kind": "commercetools", "settings": {"project": NaN}}', "application/json"),
        (b'{"id": "a_b", "kind": "commercetools", "settings": {"project": 1e999}}', "application/json"),
        (b'{"id": "a_b", "kind": "commercetools", "role": "admin"}', "application/json"),
        (b'{"id": "../x", "kind": "commercetools"}', "application/json"),
        (b'{"id": "a_b", "kind": "commercetools", "name": "a\\u001bb"}', "application/json"),
        ("{}".encode("utf-16"), "application/json"),
        (b'{"id": "a_b", "kind": "commercetools"}', "text/plain"),
        (b"id=a_b&kind=commercetools", "application/x-www-form-urlencoded"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_an_invalid_body_is_refused(hub: Hub, body: bytes, content_type: str) -> None:
    answer = hub.call("POST", "/v1/integrations", data=body, headers={"Content-Type": content_type})

    assert_problem(answer, 400, "bad-request")


@pytest.mark.parametrize(
    "settings",
    [
        b'{"a": ' + b"[" * 3000 + b"]" * 3000 + b"}",
        b'{"a": ' + b"[" * 90_000 + b"]" * 90_000 + b"}",
        b'{"a": "\\u0000"}',
        b'{"a": "\\ud800"}',
        b'{"\\u0000": 1}',
    ],
    ids=["deep", "very deep", "NUL", "half a pair", "NUL in a name"],
)
def test_a_value_that_no_table_can_hold_is_refused(hub: Hub, settings: bytes) -> None:
    """It is JSON, so another parser on its way might let it through."""
    body = b'{"id": "a_b", "kind": "commercetools", "settings": ' + settings + b"}"
    answer = hub.call("POST", "/v1/integrations", data=body, headers={"Content-Type": "application/json"})

    assert_problem(answer, 422, "unprocessable")


def test_a_large_body_is_refused_before_it_is_read(hub: Hub) -> None:
    answer = hub.call("POST", "/v1/integrations", data=b'{"id": "' + b"a" * 2_000_000 + b'"}')
    streamed = hub.call("POST", "/v1/integrations", data=iter([b"a" * 600_000, b"a" * 600_000]))

    assert_problem(answer, 413, "too-large")
    assert_problem(streamed, 413, "too-large")


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [("admin", b"a" * 20_000_000, 413), (None, [b"a" * 1_000_000] * 20, 401)],
    ids=["a large body", "a stranger's parts"],
)
def test_whoever_sends_far_too_much_sees_why(hub: Hub, name: str | None, body: Any, status: int) -> None:
    """A connection that is closed while the body still comes is reset, and the answer is lost with it."""
    answer = hub.call("POST", "/v1/integrations", name, data=body if isinstance(body, bytes) else iter(body))

    assert (answer.status_code, answer.headers["Connection"]) == (status, "close")


def test_a_change_with_the_sessions_cookie_must_come_from_our_own_page(hub: Hub, retailer: FakeRetailer) -> None:
    """A browser sends the cookie with a form of any other site's too."""
    of = f"/v1/integrations/{added(hub, retailer)['id']}/pause"
    cookies = {"_token": hub.token("admin")}

    def post(**headers: str) -> requests.Response:
        keyed = {"Idempotency-Key": "of-this-page", **headers}
        return requests.post(f"{hub.url}/hub{of}", cookies=cookies, headers=keyed, timeout=120)

    assert_problem(post(), 403, "foreign-page")
    assert_problem(post(Origin="https://evil.example"), 403, "foreign-page")
    assert post(Origin=hub.url).status_code == 200


def test_a_request_id_goes_all_the_way(hub: Hub) -> None:
    assert hub.call("GET", "/v1/me", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    assert hub.call("GET", "/v1/me", headers={"X-Request-Id": "a b;c"}).headers["X-Request-Id"] != "a b;c"
