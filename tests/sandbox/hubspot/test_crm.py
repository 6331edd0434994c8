"""The simulated CRM answers as HubSpot's API for contacts does, and as the vendor's OpenAPI document says."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from crossdock.sandbox.engine.test_client import HttpResponse, TestClient
from crossdock.sandbox.hubspot.crm import FakeCrm

CONTACTS = "/crm/v3/objects/contacts"


@pytest.fixture(scope="module")
def crm() -> Iterator[FakeCrm]:
    with FakeCrm(token="t0ken", seed=3, count=250) as system:
        yield system


def get(crm: FakeCrm, path: str = CONTACTS, token: str = "t0ken", **query: object) -> HttpResponse:  # noqa: S107 - the system's own
    headers = {"authorization": f"Bearer {token}"}
    return TestClient(crm.port).call("GET", path, list(query.items()), headers=headers)


def test_a_list_is_read_to_its_end_by_its_cursor(crm: FakeCrm) -> None:
    ids: list[str] = []
    after: object = 0
    while after is not None:
        page = get(crm, limit=100, after=after).json
        ids += [contact["id"] for contact in page["results"]]
        after = page.get("paging", {}).get("next", {}).get("after")

    assert ids == [contact.id for contact in crm.contacts]
    assert len(set(ids)) == 250


def test_a_contact_has_the_properties_that_were_asked_for_and_those_that_always_come(crm: FakeCrm) -> None:
    """A property that it lacks is null."""
    (contact,) = get(crm, limit=1, properties="email,nickname").json["results"]

    assert contact["properties"].keys() == {"email", "nickname", "createdate", "hs_object_id", "lastmodifieddate"}
    assert contact["properties"]["nickname"] is None
    assert get(crm, f"{CONTACTS}/{contact['id']}").json["properties"].keys() > {"email", "firstname", "lastname"}


@pytest.mark.parametrize(
    ("asked", "status", "category"),
    [
        ({"token": "wrong"}, 401, "INVALID_AUTHENTICATION"),
        ({"path": f"{CONTACTS}/4711"}, 404, "OBJECT_NOT_FOUND"),
        ({"path": "/crm/v3/objects/pets"}, 404, "OBJECT_NOT_FOUND"),
        ({"limit": 101}, 400, "VALIDATION_ERROR"),
        ({"limit": "many"}, 400, "VALIDATION_ERROR"),
        ({"associations": "companies"}, 400, "VALIDATION_ERROR"),
    ],
)
def test_a_refusal_has_the_vendors_form(crm: FakeCrm, asked: dict[str, Any], status: int, category: str) -> None:
    refused = get(crm, **asked)

    assert (refused.status, refused.json["category"], refused.json["status"]) == (status, category, "error")
    assert refused.json.keys() >= {"message", "correlationId"}


@pytest.fixture(scope="module")
def contract() -> Registry[Any]:
    folder = os.environ.get("HUB_VENDOR_SPECS")
    if not folder:
        pytest.skip(
            "the vendor's OpenAPI document is not part of the project: download hubspot-contacts-v3.json and set"
            " HUB_VENDOR_SPECS to its folder"
        )
    document = json.loads(Path(folder, "hubspot-contacts-v3.json").read_text(encoding="utf-8"))
    return Registry().with_resource("urn:vendor", Resource(contents=document, specification=DRAFT202012))


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"limit": 10}, "CollectionResponseSimplePublicObjectWithAssociationsForwardPaging"),
        ({"path": f"{CONTACTS}/51"}, "SimplePublicObjectWithAssociations"),
        ({"token": "wrong"}, "Error"),
    ],
)
def test_answers_keep_the_vendors_contract(
    contract: Registry[Any], crm: FakeCrm, asked: dict[str, Any], name: str
) -> None:
    document = get(crm, **asked).json
    for contact in document.get("results", [document] if "properties" in document else []):
        # The vendor sends null for a property without a value, although its document says text.
        contact["properties"] = {key: value for key, value in contact["properties"].items() if value is not None}
    schema = {"$ref": f"urn:vendor#/components/schemas/{name}"}

    assert [error.message for error in Draft202012Validator(schema, registry=contract).iter_errors(document)] == []
