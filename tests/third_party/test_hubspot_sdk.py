"""HubSpot's own Python SDK on our simulated CRM: what it cannot read, no real client could."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from crossdock.sandbox.hubspot.crm import FakeCrm
from tests.third_party.installs import HERE, sdk_python

#: It needs PyPI and, at first, a minute of installing: one worker installs.
pytestmark = [pytest.mark.deep, pytest.mark.xdist_group("third_party")]

KNOWN = "contact00003@crm.example"
CONTACT = {"updated": "datetime", "archived": False}


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """What the SDK was answered, and the CRM's own IDs beside it."""
    python = sdk_python("hubspot")
    with FakeCrm(token="t0ken", seed=3, count=11) as crm:
        ids = [contact.id for contact in crm.contacts]
        ended = subprocess.run(
            [str(python), str(HERE / "hubspot" / "calls.py"), crm.url, KNOWN],
            env={"PATH": os.defpath, "SANDBOX_CRM_TOKEN": crm.token},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        known = crm.state.get(KNOWN, "email")
    document: dict[str, Any] = json.loads(ended.stdout)
    return {**document, "in the CRM": ids, "known": [known.id, known.properties["lastname"]]}


def test_the_list_is_read_page_by_page(answers: dict[str, Any]) -> None:
    assert answers["page"] == {
        "type": "CollectionResponseSimplePublicObjectWithAssociationsForwardPaging",
        "ids": answers["in the CRM"][:4],
        "after": answers["in the CRM"][3],
    }
    assert answers["all"] == [*answers["in the CRM"], answers["created id"]]


def test_a_contact_is_read_by_its_id_and_by_its_address(answers: dict[str, Any]) -> None:
    contact_id, lastname = answers["known"]
    expected = {"type": "SimplePublicObjectWithAssociations", "id": contact_id, "email": KNOWN, "lastname": lastname}

    assert answers["by email"] == answers["by id"] == expected | CONTACT


def test_a_contact_is_created_and_updated(answers: dict[str, Any]) -> None:
    """Its address without capitals, and the plus sign in a path."""
    one = {"type": "SimplePublicObject", "id": answers["created id"]} | CONTACT

    assert answers["created"] == one | {"email": "ada+shop@crm.example", "lastname": "Byron"}
    assert answers["updated"] == one | {"email": None, "lastname": "Lovelace"}


def test_refusals_have_the_vendors_categories(answers: dict[str, Any]) -> None:
    assert answers["taken"][:3] == [409, "CONFLICT", f"Contact already exists. Existing ID: {answers['created id']}"]
    assert answers["unknown"][:2] == [404, "OBJECT_NOT_FOUND"]
    for name in ("invalid", "not unique", "page of none"):
        assert answers[name][:2] == [400, "VALIDATION_ERROR"], name


def test_a_batch_is_read_and_what_is_missing_is_an_error_beside_it(answers: dict[str, Any]) -> None:
    both = {answers["known"][0], answers["created id"]}

    assert (answers["read"]["status"], set(answers["read"]["ids"]), answers["read"]["errors"]) == ("COMPLETE", both, [])
    part = answers["read with a missing one"]
    assert (part["type"], part["ids"]) == ("BatchResponseSimplePublicObjectWithErrors", [answers["created id"]])
    assert part["errors"] == [["OBJECT_NOT_FOUND", {"ids": ["4711"]}]]


def test_a_batch_is_upserted_whole_or_in_part(answers: dict[str, Any]) -> None:
    """Each input's trace comes back with its outcome."""
    whole, part = answers["upserted"], answers["upserted in part"]

    assert (whole["type"], whole["new"], whole["traces"]) == (
        "BatchResponseSimplePublicUpsertObject",
        [False, True],
        ["0", "1"],
    )
    assert (part["type"], part["new"], part["traces"]) == (
        "BatchResponseSimplePublicUpsertObjectWithErrors",
        [True],
        ["0"],
    )
    assert part["errors"] == [["VALIDATION_ERROR", {"objectWriteTraceId": ["1"]}]]


def test_a_search_has_a_total_and_a_next_page(answers: dict[str, Any]) -> None:
    found = answers["search"]

    assert found["type"] == "CollectionResponseWithTotalSimplePublicObjectForwardPaging"
    assert (found["total"], found["ids"], found["after"]) == (12, answers["in the CRM"][:3], "3")


def test_a_property_is_described(answers: dict[str, Any]) -> None:
    assert answers["property"] == [
        "ModelProperty",
        "order_standing",
        "enumeration",
        False,
        ["good", "blocked", "review"],
    ]
