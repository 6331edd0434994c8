"""A CRM over the real API: stored after its test has passed, and what it says of a person is shown to few."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crossdock.sandbox.hubspot.crm import FakeCrm
from tests.api.conftest import Hub
from tests.api.test_access import assert_problem
from tests.api.test_integrations import is_nowhere, outcomes
from tests.shop import query

#: Planted as the token; found nowhere but encrypted in Airflow's database.
CANARY = "pat-k4n4ry-of-the-crm"
FIRST = "contact00000@crm.example"


@pytest.fixture(scope="module")
def crm() -> Iterator[FakeCrm]:
    with FakeCrm(token=CANARY, count=5) as system:
        yield system


def wish(crm: FakeCrm, name: str, token: str = CANARY) -> dict[str, Any]:
    settings = {"base_url": crm.url, "allowed_networks": ["127.0.0.0/8"], "standing_property": "order_standing"}
    return {"id": name, "kind": "hubspot", "settings": settings, "credentials": {"token": token}}


def act(hub: Hub, name: str, action: str, given: dict[str, Any], caller: str) -> Any:
    return hub.call("POST", f"/v1/integrations/{name}/actions/{action}", caller, json={"input": given})


def test_one_whose_test_fails_is_nowhere_and_one_whose_test_passes_is_created(hub: Hub, crm: FakeCrm) -> None:
    """The same ID: what failed left nothing in its way."""
    failed = hub.call("POST", "/v1/integrations", json=wish(crm, "crm_w8", f"{CANARY}-but-wrong"))

    assert_problem(failed, 422, "connection-test-failed")
    assert outcomes(failed.json()["checks"])["credentials"] == "failed"
    assert CANARY not in failed.text
    assert is_nowhere(hub, "crm_w8")

    passed = hub.call("POST", "/v1/integrations", json=wish(crm, "crm_w8"))

    assert (passed.status_code, passed.headers["Location"]) == (201, "/hub/v1/integrations/crm_w8")
    assert set(outcomes(passed.json()["checks"]).values()) <= {"ok", "skipped"}
    assert passed.json()["streams"] == ["crm_w8.customers"]
    assert CANARY not in passed.text


@pytest.fixture(scope="module")
def account(hub: Hub, crm: FakeCrm) -> str:
    hub.call("POST", "/v1/integrations", json=wish(crm, "crm_eu")).raise_for_status()
    return "crm_eu"


def test_a_person_is_masked_for_a_developer_and_revealed_to_an_operator_with_a_trace(hub: Hub, account: str) -> None:
    """The one rule for personal data of all routes."""
    masked = act(hub, account, "find_customer", {"key": FIRST}, "dora").json()["output"]["customer"]
    shown = act(hub, account, "find_customer", {"key": FIRST}, "otto").json()["output"]["customer"]

    assert {masked["email"], masked["key"], masked["first_name"]} == {"***"}
    assert masked["ref"] == shown["ref"]
    assert shown["email"] == FIRST
    with hub.store() as store:
        traced = query(
            store, "SELECT actor, subject FROM audit_entry WHERE act = 'personal_data.reveal' ORDER BY at DESC LIMIT 1"
        )
    assert traced == [("airflow:otto", f"integration/{account}")]


def test_several_persons_at_once_are_masked_for_everybody(hub: Hub, account: str) -> None:
    """Lists are no way around the trace of each record."""
    found = act(hub, account, "find_customers", {"keys": [FIRST, "contact00001@crm.example"]}, "admin")

    assert found.status_code == 200
    assert "crm.example" not in found.text


def test_a_write_is_answered_and_audited_without_personal_data(hub: Hub, account: str) -> None:
    """Its answer is kept for a repetition of the request."""
    given = {"key": "ada@crm.example", "first_name": "Ada-Augusta"}
    created = act(hub, account, "create_customer", given, "otto")

    assert created.status_code == 200, created.text
    assert set(created.json()["output"]) == {"ref", "version"}
    with hub.store() as store:
        kept = query(store, "SELECT k::text FROM idempotency_key k UNION ALL SELECT a::text FROM attempt a "
                            "UNION ALL SELECT e::text FROM audit_entry e")  # fmt: skip
    assert not [row for (row,) in kept if "Ada-Augusta" in row or "ada@crm.example" in row]
